package haltredis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// background is the context of commands, which are sent by contexts of their own.
var background = context.Background()

// sender is what a lane needs of a client.
type sender interface {
	Process(ctx context.Context, cmd redis.Cmder) error
	Pipeline() redis.Pipeliner
}

// lane is the way to one server: the calls that wait for it, and the batches that are on their way. There is no timer: a call
// that finds the lane free is sent at once; while as many batches as may be are on their way, calls wait, and what waits when
// one is back is the next batch.
type lane struct {
	store *Store
	to    sender
	wake  chan struct{} // receives for a flight that has been counted as flying again

	mu     sync.Mutex
	queue  []*call
	head   int // of the queue
	flying int // flights that carry a batch
	parked int // those that wait for one
}

func (s *Store) newLane(to sender) *lane {
	return &lane{store: s, to: to, wake: make(chan struct{}, s.inFlight)}
}

// enqueue adds a call. It never blocks.
func (l *lane) enqueue(w *call) {
	if l.store.maxBatch == 1 {
		go l.alone(w)
		return
	}
	l.mu.Lock()
	l.queue = append(l.queue, w)
	if l.flying == l.store.inFlight {
		l.mu.Unlock()
		return
	}
	l.flying++
	parked := l.parked > 0
	if parked {
		l.parked--
	}
	l.mu.Unlock()
	if parked {
		l.wake <- struct{}{}
	} else {
		go l.fly()
	}
}

// next moves the calls of the next batch to f, and tells whether there are any. If not, the flight is counted as parked.
func (l *lane) next(f *flight) bool {
	const mostBytes = 1 << 20 // of keys: a batch of long ones would hold up everybody
	l.mu.Lock()
	defer l.mu.Unlock()
	charges, size := 0, 0
	for l.head < len(l.queue) && len(f.calls) < l.store.maxBatch {
		w := l.queue[l.head]
		if len(f.calls) > 0 && (charges+len(w.charges) > mostCalls || size > mostBytes) {
			break
		}
		l.queue[l.head] = nil
		l.head++
		if !w.board() {
			continue
		}
		f.calls = append(f.calls, w)
		charges += len(w.charges)
		for i := range w.charges {
			size += len(w.charges[i].Key)
		}
	}
	if l.head*2 >= len(l.queue) { // or it would grow for as long as somebody waits
		n := copy(l.queue, l.queue[l.head:])
		clear(l.queue[n:])
		l.queue, l.head = l.queue[:n], 0
	}
	if len(f.calls) == 0 {
		l.flying--
		l.parked++
		return false
	}
	return true
}

// idle is how long a goroutine stays that has no batch to carry: starting one and growing its stack costs a caller who is
// alone more than anything else here.
const idle = 100 * time.Millisecond

// fly sends batches until nobody has waited for a while.
func (l *lane) fly() {
	f := flights.Get().(*flight)
	defer flights.Put(f)
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		for l.next(f) {
			f.start(l.store.timeout)
			f.run(l)
			f.stop()
		}
		timer.Reset(idle)
		select {
		case <-l.wake:
			continue
		case <-timer.C:
		}
		l.mu.Lock()
		leave := l.parked > 0
		if leave {
			l.parked--
		}
		l.mu.Unlock()
		if leave {
			return
		}
		<-l.wake // it was on its way
	}
}

// alone sends a call by itself.
func (l *lane) alone(w *call) {
	f := flights.Get().(*flight)
	defer flights.Put(f)
	if w.board() {
		f.calls = append(f.calls, w)
		f.start(l.store.timeout)
		f.run(l)
		f.stop()
	}
}

// pause waits before the attempt of that number, or until ctx ends.
func pause(ctx context.Context, attempt int) error {
	t := time.NewTimer(time.Millisecond << (2 * attempt) / 4)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
