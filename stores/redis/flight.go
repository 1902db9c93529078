package haltredis

import (
	"context"
	"sync"
)

// flight carries batches to a server, one after the other. All of its memory is used again.
type flight struct {
	calls    []*call
	again    []*call // those of calls that are to be sent again
	requests []*request
	used     int // of requests
	commands []once
	slots    map[int]int // of a cluster's slot to its request
	limit    *deadline   // of the batch that is on its way
}

var flights = sync.Pool{New: func() any { return &flight{slots: make(map[int]int)} }}

// attempts is how often a batch is sent at most, if each time it is certain that it has not run.
const attempts = 4

// run sends the calls and sees to it that each is answered.
func (f *flight) run(l *lane) {
	s, to, ctx := l.store, l.to, context.Context(f.limit)
	for attempt := 0; len(f.calls) > 0; attempt++ {
		f.build(s, attempt > 0)
		f.send(ctx, s, to, attempt > 0)
		f.again = f.again[:0]
		to = l.to
		wait := false
		for i := range f.used {
			switch f.settle(l, i, attempt >= attempts-1) {
			case unheard, unknown:
				wait = true
			case elsewhere:
				wait = true
				if s.cluster != nil {
					to = s.cluster // which knows how to follow a key that moves
				}
			default:
			}
		}
		f.calls, f.again = append(f.calls[:0], f.again...), f.again[:0]
		if wait && len(f.calls) > 0 {
			if err := pause(ctx, attempt); err != nil {
				fail(f.calls, err)
				f.calls = f.calls[:0]
			}
		}
	}
	clear(f.calls[:cap(f.calls)])
	clear(f.again[:cap(f.again)])
}

// build sorts the calls into requests: all into one, or in a cluster one for each slot. What is sent again there has a
// request for each call, so that a slot that is moving delays only those whose keys are apart at the moment.
func (f *flight) build(s *Store, again bool) {
	f.used = 0
	clear(f.slots)
	for _, w := range f.calls {
		at, known := 0, f.used > 0
		if s.cluster != nil {
			at, known = f.slots[w.slot]
		}
		if !known || again && s.cluster != nil {
			at = f.used
			f.used++
			f.slots[w.slot] = at
			if at == len(f.requests) {
				f.requests = append(f.requests, newRequest())
			}
			f.requests[at].reset()
		}
		f.requests[at].add(s, w)
	}
}

// send runs the requests and returns when all commands have an answer or an error.
func (f *flight) send(ctx context.Context, s *Store, to sender, byText bool) {
	f.commands = f.commands[:0]
	for _, r := range f.requests[:f.used] {
		f.commands = append(f.commands, r.command(s, byText))
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
func (f *flight) settle(l *lane, i int, last bool) outcome {
	r := f.requests[i]
	answer, err := f.commands[i].Text()
	f.commands[i] = once{}
	if err == nil {
		if f.again, err = r.decide(l.store, answer, f.again); err != nil {
			fail(r.calls, err)
		}
		l.store.nodes.answered(l)
		return ran
	}
	what := outcomeOf(err)
	if l.store.cluster != nil {
		l.store.reroute(l, r.calls[0].slot, what)
	}
	for j, w := range r.calls {
		r.calls[j] = nil
		switch {
		case what == failed, what == late, last, what == unknown && (w.resent || !w.repeatable()):
			w.answer(typed(err))
		case w.expired():
			w.answer(nil) // nobody is there to read it
		default:
			w.resent = w.resent || what == unknown
			f.again = append(f.again, w)
		}
	}
	return what
}

// fail answers calls with an error.
func fail(calls []*call, err error) {
	err = typed(err)
	for i, w := range calls {
		calls[i] = nil
		w.answer(err)
	}
}
