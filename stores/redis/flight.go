package haltredis

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/halt-dev/halt/core/combine"
)

// background is the context of commands, which are sent by contexts of their own.
var background = context.Background()

// sender is what a batch needs of a client.
type sender interface {
	Process(ctx context.Context, cmd redis.Cmder) error
	Pipeline() redis.Pipeliner
}

// way leads to one server: the calls of a batch go the same way.
type way struct{ to sender }

// call is a Take that waits for its batch.
type call = combine.Call[own]

// own is what the store keeps with each call.
type own struct {
	slot    int  // of all its keys, in a cluster
	resent  bool // after an error that left it unknown whether it was spent
	clashed bool // sent again because the store's clock was beyond its periods' edges
}

// flight carries batches to a server, one after the other. All of its memory is used again.
type flight struct {
	store    *Store
	again    []*call // those that are to be sent again
	requests []*request
	used     int // of requests
	commands []once
	slots    map[int]int // of a cluster's slot to its request
}

func newFlight(s *Store) *flight { return &flight{store: s, slots: make(map[int]int)} }

// attempts is how often a batch is sent at most, if each time it is certain that it has not run. The pauses between come to
// 21 ms, in which a key that moves from node to node arrives.
const attempts = 5

// Send sends the calls and sees to it that each is answered.
func (f *flight) Send(ctx context.Context, w *way, calls []*call) {
	to := w.to
	for attempt := 0; len(calls) > 0; attempt++ {
		f.build(calls, attempt > 0)
		f.send(ctx, to, attempt > 0)
		f.again = f.again[:0] // the requests have what was in it
		to = w.to
		wait := false
		for i := range f.used {
			switch f.settle(w, i, attempt >= attempts-1) {
			case unheard, unknown:
				wait = true
			case elsewhere:
				wait = true
				if f.store.cluster != nil {
					to = f.store.cluster // which knows how to follow a key that moves
				}
			default:
			}
		}
		calls = f.again
		if wait && len(calls) > 0 {
			if err := combine.Pause(ctx, attempt); err != nil {
				fail(calls, err)
				break
			}
		}
	}
	clear(f.again[:cap(f.again)])
}

// build sorts the calls into requests: all into one, or in a cluster one for each slot. What is sent again there has a
// request for each call, so that a slot that is moving delays only those whose keys are apart at the moment.
func (f *flight) build(calls []*call, again bool) {
	f.used = 0
	clear(f.slots)
	for _, w := range calls {
		at, known := 0, f.used > 0
		if f.store.cluster != nil {
			at, known = f.slots[w.Of.slot]
		}
		if !known || again && f.store.cluster != nil {
			at = f.used
			f.used++
			f.slots[w.Of.slot] = at
			if at == len(f.requests) {
				f.requests = append(f.requests, newRequest())
			}
			f.requests[at].reset()
		}
		f.requests[at].add(f.store, w)
	}
}

// send runs the requests and returns when all commands have an answer or an error.
func (f *flight) send(ctx context.Context, to sender, byText bool) {
	f.commands = f.commands[:0]
	for _, r := range f.requests[:f.used] {
		f.commands = append(f.commands, r.command(f.store, byText))
	}
	if len(f.commands) == 1 {
		_ = to.Process(ctx, f.commands[0]) // the command has the error
		return
	}
	p := to.Pipeline()
	for _, c := range f.commands {
		_ = p.Process(ctx, c)
	}
	_, _ = p.Exec(ctx)
}

// settle answers the calls of the i-th request, or puts them among those to be sent again. It returns what became of the
// script.
func (f *flight) settle(w *way, i int, last bool) outcome {
	r := f.requests[i]
	answer, err := f.commands[i].Text()
	f.commands[i] = once{}
	if err == nil {
		if f.again, err = r.decide(f.store, answer, f.again); err != nil {
			fail(r.calls, err)
		}
		f.store.nodes.answered(w)
		return ran
	}
	what := outcomeOf(err)
	if f.store.cluster != nil {
		f.store.reroute(w, r.calls[0].Of.slot, what)
	}
	for j, c := range r.calls {
		r.calls[j] = nil
		switch {
		case what == failed, what == late, last, what == unknown && (c.Of.resent || !c.Repeatable()):
			c.Answer(typed(err))
		case c.Gone():
			c.Answer(nil) // nobody is there to read it
		default:
			c.Of.resent = c.Of.resent || what == unknown
			f.again = append(f.again, c)
		}
	}
	return what
}

// fail answers calls with an error.
func fail(calls []*call, err error) {
	err = typed(err)
	for i, w := range calls {
		calls[i] = nil
		w.Answer(err)
	}
}
