package combine

// queue are the calls that wait for the same thing, and how many batches of them are on their way.
type queue[K comparable, T any] struct {
	key    K
	calls  []*Call[T]
	head   int // of calls
	left   int // about how many of them have no caller any more
	flying int
}

// What is kept of what a queue had at its largest.
const (
	mostSpare = 256 // queues, and calls of each
	mostLeft  = 64  // calls without a caller, if they are the greater part
)

// enqueue adds a call to the queue of that name. It never blocks.
func (c *Combiner[K, T]) enqueue(key K, w *Call[T]) {
	if c.o.InFlight == 0 {
		c.dispatch(task[K, T]{alone: w, key: key})
		return
	}
	c.mu.Lock()
	q := c.queues[key]
	if q == nil {
		q = c.open(key)
	}
	q.calls = append(q.calls, w)
	if q.flying == c.o.InFlight {
		c.mu.Unlock()
		return
	}
	q.flying++
	c.mu.Unlock()
	c.dispatch(task[K, T]{queue: q, key: key})
}

// open makes the queue of that name. The lock is held.
func (c *Combiner[K, T]) open(key K) *queue[K, T] {
	var q *queue[K, T]
	if n := len(c.spare); n > 0 {
		q = c.spare[n-1]
		c.spare = c.spare[:n-1]
	} else {
		q = new(queue[K, T])
	}
	q.key = key
	c.queues[key] = q
	return q
}

// close forgets the queue, in which nothing is left. The lock is held.
func (c *Combiner[K, T]) close(q *queue[K, T]) {
	delete(c.queues, q.key)
	if len(c.spare) < mostSpare && cap(q.calls) <= mostSpare {
		var none K
		q.key, q.left = none, 0
		c.spare = append(c.spare, q)
	}
}

// next appends the calls of the queue's next batch to batch. If there are none the flight has ended, and the queue with it
// if it was the last.
func (c *Combiner[K, T]) next(q *queue[K, T], batch []*Call[T]) []*Call[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	charges, size := 0, 0
	for q.head < len(q.calls) && len(batch) < c.o.MaxBatch {
		w := q.calls[q.head]
		if !w.waits() {
			q.left--
		} else if charges, size = charges+len(w.Charges), size+w.size; len(batch) > 0 && (charges > mostCharges || size > mostBytes) {
			break
		}
		q.calls[q.head] = nil
		q.head++
		if w.board() {
			batch = append(batch, w)
		}
	}
	if q.head*2 >= len(q.calls) { // or it would grow for as long as somebody waits
		q.shift(copy(q.calls, q.calls[q.head:]))
	}
	if len(batch) == 0 {
		if q.flying--; q.flying == 0 {
			c.close(q)
		}
	}
	return batch
}

// shift makes the first n of the array that calls is in all of them.
func (q *queue[K, T]) shift(n int) {
	clear(q.calls[n:])
	q.calls, q.head = q.calls[:n], 0
}

// abandoned is told that a caller has left before its call was sent. However long the database takes no batch, a queue does
// not fill up with those who gave up on it.
func (c *Combiner[K, T]) abandoned(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.queues[key]
	if q == nil {
		return
	}
	if q.left++; q.left < mostLeft || q.left*2 < len(q.calls)-q.head {
		return
	}
	n := 0
	for _, w := range q.calls[q.head:] {
		if w.waits() {
			q.calls[n] = w
			n++
		} else {
			w.release()
		}
	}
	q.shift(n)
	q.left = 0
}
