package testserver

import "sync"

// outputLimit is how many bytes of a server's output are kept.
const outputLimit = 64 << 10

// An output keeps the end of what a server prints. It is safe for concurrent
// use.
type output struct {
	mu    sync.Mutex
	kept  []byte
	total int64 // bytes ever written
}

// Write never fails.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.total += int64(len(p))
	o.kept = append(o.kept, p...)
	if over := len(o.kept) - outputLimit; over > 0 {
		o.kept = o.kept[:copy(o.kept, o.kept[over:])]
	}
	return len(p), nil
}

// mark returns the position after what was written so far.
func (o *output) mark() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total
}

// since returns what was written after the mark, as far as it is kept.
func (o *output) since(mark int64) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	dropped := o.total - int64(len(o.kept))
	return string(o.kept[max(0, mark-dropped):])
}
