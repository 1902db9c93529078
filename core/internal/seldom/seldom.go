// Package seldom rations log lines that would come too often.
package seldom

import (
	"sync/atomic"
	"time"
)

// Every is how often a line of one kind is written that tells of failures which nobody else tells the operator of.
const Every = 10 * time.Second

// Gate lets a line through from time to time. The zero value lets the first one through. It is safe for concurrent use.
type Gate struct {
	last       atomic.Int64 // Unix nanoseconds of the last line
	suppressed atomic.Int64
}

// Due tells whether a line is due, one in this time, and how many were suppressed since the last.
func (g *Gate) Due(every time.Duration) (suppressed int64, due bool) {
	now, last := time.Now().UnixNano(), g.last.Load()
	if d := now - last; last != 0 && 0 <= d && d < int64(every) || !g.last.CompareAndSwap(last, now) {
		g.suppressed.Add(1)
		return 0, false
	}
	return g.suppressed.Swap(0), true
}
