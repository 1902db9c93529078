package haltgqlgen

import (
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// budget is what the occurrences of an operation draw on together.
type budget struct {
	policy  halt.Policy
	key     string
	shadow  bool
	named   bool // the policy is the registry's
	sharers int  // occurrences that draw on it

	asked     int64 // of all occurrences
	cost      int64 // of the occurrences that are still to be admitted
	remaining int64
	refused   bool  // it refused an occurrence
	want      int64 // the largest cost that it refused
	decision  halt.Decision
	decided   bool
}

type budgetKey struct {
	policy, key string
	shadow      bool
}

type known struct {
	policy halt.Policy
	err    error
}

// charge adds what a limit costs an occurrence. The needs up to before are those of other types at the same place.
func (w *walker) charge(o *occurrence, s *selected, l *limit, before int) error {
	w.op.field = s.field
	cost, err := l.costOf(w.op)
	if err != nil || cost == 0 {
		return err
	}
	ok := false
	if w.scratch, ok, err = l.appendKey(w.scratch[:0], w.op); err != nil {
		return err
	}
	if !ok {
		w.tell(l, guard.ErrNoKey, false)
		if !l.shadow {
			o.drop(guard.MissingKey)
		}
		return nil
	}
	p, err := w.policy(l)
	if err != nil {
		return err
	}
	b, err := w.budget(l, p, w.scratch)
	if err != nil {
		return err
	}
	for i := range o.needs {
		switch n := &o.needs[i]; {
		case n.budget != b:
		case i < before:
			n.cost = max(n.cost, cost)
			return nil
		default: // two limits of one field on one budget
			n.cost = sum(n.cost, cost)
			return nil
		}
	}
	w.budgets[b].sharers++
	o.needs = append(o.needs, need{b, cost})
	return nil
}

// policy looks a limit's policy up; one that must be resolved, once per operation. It is valid until the next is looked up.
func (w *walker) policy(l *limit) (p *halt.Policy, err error) {
	switch {
	case l.name != "":
		w.named, err = w.op.ext.config.Policies.Get(l.name)
		return &w.named, err
	case l.resolve == nil:
		return &l.policy, nil
	}
	k := w.known[l]
	if k == nil {
		f := w.op.field
		w.op.field = nil // it is the same for all of the operation
		k = new(known)
		k.policy, k.err = l.resolved(w.op)
		w.op.field = f
		if w.known == nil {
			w.known = make(map[*limit]*known)
		}
		w.known[l] = k
	}
	return &k.policy, k.err
}

// budget returns the index of a budget.
func (w *walker) budget(l *limit, p *halt.Policy, key []byte) (int, error) {
	at := w.find(l, p, key)
	if at >= 0 {
		if w.budgets[at].named && l.name != "" {
			return at, nil // it may have changed meanwhile
		}
		same := *p
		same.Plan = w.budgets[at].policy.Plan // only a label
		if w.budgets[at].policy != same {
			return -1, guard.ErrSameBudget
		}
		return at, nil
	}
	at = len(w.budgets)
	w.budgets = append(w.budgets, budget{})
	b := &w.budgets[at]
	b.policy, b.key, b.shadow, b.named = *p, w.key(key), l.shadow, l.name != ""
	switch {
	case w.index != nil:
		w.index[budgetKey{p.Name, b.key, l.shadow}] = at
	case at >= few:
		w.index = make(map[budgetKey]int)
		for i := range w.budgets {
			b := &w.budgets[i]
			w.index[budgetKey{b.policy.Name, b.key, b.shadow}] = i
		}
	}
	return at, nil
}

// keyBlock is the size of the blocks that keys are cut off, which spares an allocation for each.
const keyBlock = 64

// key returns a key as a string of its own: who keeps it keeps its block, which is small.
func (w *walker) key(b []byte) string {
	if len(b) > keyBlock/2 {
		return string(b)
	}
	if w.keys.Cap()-w.keys.Len() < len(b) {
		w.keys.Reset()
		w.keys.Grow(keyBlock)
	}
	at := w.keys.Len()
	w.keys.Write(b)
	return w.keys.String()[at:]
}

// find returns the index of a budget that is known, or -1.
func (w *walker) find(l *limit, p *halt.Policy, key []byte) int {
	if w.index != nil {
		if i, ok := w.index[budgetKey{p.Name, string(key), l.shadow}]; ok {
			return i
		}
		return -1
	}
	for i := range w.budgets {
		if b := &w.budgets[i]; b.key == string(key) && b.policy.Name == p.Name && b.shadow == l.shadow {
			return i
		}
	}
	return -1
}

// sum returns a+b of costs, at most what any policy could hold.
func sum(a, b int64) int64 {
	if a > 1<<60-b {
		return 1 << 60
	}
	return a + b
}
