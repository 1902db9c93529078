package castest

import (
	"context"
	"strings"
	"time"

	"github.com/halt-dev/halt/core/cas"
)

var lifeCases = []testCase{
	{
		name: "Life", run: life,
		rule: "An entry is kept for at least its life, however short or long that is. It may stay for longer.",
	},
	{
		name: "LifeRenewed", run: lifeRenewed,
		rule: "The life of an entry counts from the swap that wrote it, whatever was left of the life of what was there before.",
	},
	{
		name: "SwapAllLife", several: true, run: swapAllLife,
		rule: "What SwapAll writes is kept for at least its Life; what it only checks keeps the life that it had.",
	},
	{
		name: "Context", run: ended,
		rule: "A call whose context has ended, or ends while it waits, returns soon. It returns an error, unless it was carried out before it " +
			"noticed. The error does not tell the key. The register goes on working, and has kept none of the slices.",
	},
}

// plan is an entry, and when to look whether it is still there.
type plan struct {
	key  string
	life time.Duration
	at   time.Time // before it was written
}

// lives are tried where time is made: those of milliseconds; those around the 30 days beyond which Memcached takes a life for
// a date; and on.
var lives = []time.Duration{
	time.Millisecond, 10 * time.Millisecond, 300 * time.Millisecond, 999 * time.Millisecond, time.Second, 1500 * time.Millisecond,
	6 * time.Second, 6*time.Second + time.Microsecond, time.Minute, 25 * time.Hour, 30 * 24 * time.Hour, 30*24*time.Hour + time.Second, 31 * 24 * time.Hour,
	400 * 24 * time.Hour, 10 * 365 * 24 * time.Hour,
}

// shortLives are tried in real time. The second one is over too soon if it is cut to seconds.
var shortLives = []time.Duration{250 * time.Millisecond, 1400 * time.Millisecond}

func (e *trial) lives() []time.Duration {
	if e.h.Advance != nil {
		return lives
	}
	return append(append([]time.Duration(nil), shortLives...), lives[8:]...)
}

// outlive looks for the entries of the plans, which are sorted by life, each shortly before its life is over.
func (e *trial) outlive(plans []plan) {
	passed := time.Duration(0)
	for _, p := range plans {
		if e.h.Advance != nil {
			// All were written at this same time.
			e.h.Advance(e.tb, e.reg, p.life-time.Microsecond-passed)
			passed = p.life - time.Microsecond
			e.there(p)
			continue
		}
		if p.life < time.Minute {
			wait(time.Until(p.at.Add(p.life * 4 / 5)))
		}
		e.there(p)
	}
}

// there checks that the entry is still there, unless the machine was so slow that its life may be over.
func (e *trial) there(p plan) {
	got, err := e.reg.Load(e.ctx, p.key)
	if err != nil {
		fail("Load: %v", err)
	}
	if e.h.Advance == nil && time.Since(p.at) > p.life*19/20 {
		e.tb.Logf("too late to tell whether a life of %v was kept", p.life)
		return
	}
	e.check(same(got.Value, e.is[p.key]), "before its life of %v was over, there was %s in place of %s", p.life, show(got.Value), show(e.is[p.key]))
}

func life(e *trial) {
	var plans []plan
	for _, l := range e.lives() {
		p := plan{e.key(l.String()), l, time.Now()}
		e.put(p.key, cas.Entry{}, e.value(), l)
		e.there(p)
		plans = append(plans, p)
	}
	p := plan{e.key("a century"), 100 * 365 * 24 * time.Hour, time.Now()} // more than some databases can tell
	e.put(p.key, cas.Entry{}, e.value(), p.life)
	e.there(p)
	e.outlive(plans)
	e.load(p.key)
}

func lifeRenewed(e *trial) {
	ls := e.lives()
	var plans []plan
	for i, l := range ls {
		if i == 0 {
			continue
		}
		key := e.key(l.String())
		at := time.Now()
		was := e.put(key, cas.Entry{}, e.value(), ls[i-1])
		if e.h.Advance == nil && time.Since(at) > ls[i-1]*19/20 {
			continue // it may be over
		}
		plans = append(plans, plan{key, l, time.Now()})
		value := e.value()
		res, err := e.send(e.ctx, e.reg, key, was, value, l)
		switch {
		case err != nil:
			fail("a swap: %v", err)
		case !res.Swapped && e.h.Advance == nil && time.Since(at) > ls[i-1]*19/20:
			plans = plans[:len(plans)-1]
			continue
		case !res.Swapped:
			e.put(key, was, value, l)
		}
		e.is[key] = value
	}
	e.outlive(plans)
}

func swapAllLife(e *trial) {
	var plans []plan
	for i, l := range e.lives() {
		written, checked, other := e.key("written"+l.String()), e.key("checked"+l.String()), e.key("other"+l.String())
		var old cas.Entry
		if i%2 == 0 {
			old = e.fresh(written)
		}
		p := plan{written, l, time.Now()}
		e.put(checked, cas.Entry{}, e.value(), l)
		e.putAll(
			cas.Swap{Key: written, Old: cas.Entry{Value: old.Value}, Value: e.value(), Life: l},
			cas.Swap{Key: checked, Old: cas.Entry{Value: e.is[checked]}, Value: e.is[checked], Life: time.Millisecond},
			cas.Swap{Key: other, Value: e.value(), Life: time.Millisecond},
		)
		plans = append(plans, p, plan{checked, l, p.at})
	}
	e.outlive(plans)
}

// soon is how long a call may take whose context has ended.
var soon = 10 * time.Second

func ended(e *trial) {
	const times = 20
	const secret = "a key that no error tells"
	e.scribbles = true
	key, other := e.key(secret), e.key("another "+secret)
	is := e.fresh(key)
	canceled, cancel := context.WithCancel(e.ctx)
	cancel()
	expired, cancel2 := context.WithDeadline(e.ctx, time.Unix(1, 0))
	defer cancel2()
	for name, ctx := range map[string]context.Context{"was canceled": canceled, "is past its deadline": expired} {
		calls := map[string]func() error{
			"Load": func() error {
				_, err := e.reg.Load(ctx, key)
				return err
			},
			"CompareAndSwap": func() error {
				_, err := e.send(ctx, e.reg, key, is, e.value(), long)
				return err
			},
			"CompareAndSwap for nothing": func() error {
				_, err := e.send(ctx, e.reg, key, is, nil, 0)
				return err
			},
		}
		if e.several != nil {
			calls["SwapAll"] = func() error {
				_, err := e.sendAll(ctx, e.several, []cas.Swap{
					{Key: key, Old: cas.Entry{Value: is.Value}, Value: e.value(), Life: long}, {Key: other, Value: e.value(), Life: long},
				})
				return err
			}
		}
		for what, call := range calls {
			erred := false
			for range times {
				err := e.returns(what+" whose context "+name, call)
				erred = erred || err != nil
				e.check(err == nil || !strings.Contains(err.Error(), secret), "the error of a %s tells the key: %v", what, err)
			}
			e.check(erred, "%d times a %s whose context %s returned no error", times, what, name)
		}
	}
	key = e.key("afterwards")
	e.put(key, e.fresh(key), e.value(), long)
	e.load(key)
}

// returns runs the call, which has to return soon.
func (e *trial) returns(what string, call func() error) (err error) {
	done := make(chan error, 1)
	go func() {
		done <- caught(func() error {
			err = call()
			return nil
		})
	}()
	late := time.NewTimer(soon)
	defer late.Stop()
	select {
	case fault := <-done:
		e.check(fault == nil, "%v", fault)
		return err
	case <-late.C:
		fail("a %s hangs", what)
	}
	return nil
}
