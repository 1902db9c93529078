package combine

// queue are the calls that wait for the same thing, and how many batches of them are on their way.
type queue[K comparable, T any] struct {
	key    K
	calls  []*Call[T]
	head   int // of calls
	flying int
}

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

// next appends the calls of the queue's next batch to batch. If there are none the flight has ended, and the queue with it
// if it was the last.
func (c *Combiner[K, T]) next(q *queue[K, T], batch []*Call[T]) []*Call[T] {
	const mostSpare = 256
	c.mu.Lock()
	defer c.mu.Unlock()
	charges, size := 0, 0
	for q.head < len(q.calls) && len(batch) < c.o.MaxBatch {
		w := q.calls[q.head]
		if len(batch) > 0 && (charges+len(w.Charges) > mostCharges || size > mostBytes) {
			break
		}
		q.calls[q.head] = nil
		q.head++
		n, bytes := len(w.Charges), w.keySize() // w is no longer ours if its caller has left
		if !w.board() {
			continue
		}
		batch = append(batch, w)
		charges, size = charges+n, size+bytes
	}
	if q.head*2 >= len(q.calls) { // or it would grow for as long as somebody waits
		n := copy(q.calls, q.calls[q.head:])
		clear(q.calls[n:])
		q.calls, q.head = q.calls[:n], 0
	}
	if len(batch) > 0 {
		return batch
	}
	q.flying--
	if q.flying == 0 {
		delete(c.queues, q.key)
		if len(c.spare) < mostSpare && cap(q.calls) <= mostSpare {
			var none K
			q.key = none
			c.spare = append(c.spare, q)
		}
	}
	return nil
}
