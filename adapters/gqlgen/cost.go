package haltgqlgen

import (
	"github.com/99designs/gqlgen/graphql"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// budgetFigures is what an answer's extensions.cost tells of a budget.
type budgetFigures struct {
	policy   string
	cost     int64
	decision halt.Decision
}

// told tells whether a client hears of a charge.
func told(c *halt.Charge) bool {
	return c.Mode.Binds() && c.Policy.Limit != halt.Unlimited && c.Policy.Algorithm != halt.InFlight
}

// note remembers what the operation rules decided.
func (o *Operation) note(v guard.Verdict) {
	for i := range v.Charges {
		if c := &v.Charges[i]; told(c) {
			o.answers.budgets = append(o.answers.budgets, budgetFigures{c.Policy.Name, c.Cost, v.Decisions[i]})
		}
	}
}

// noteFields remembers what was decided on the fields.
func (o *Operation) noteFields(budgets []budget) {
	for i := range budgets {
		b := &budgets[i]
		c := halt.Charge{Policy: b.policy}
		if b.shadow || !b.decided || !told(&c) {
			continue
		}
		o.answers.budgets = append(o.answers.budgets, budgetFigures{b.policy.Name, b.asked, b.decision})
	}
}

// addCost adds extensions.cost to an answer.
//
//	{"requested": 12, "policy": {"points": {"cost": 12, "limit": 100, "remaining": 88, "resetAfter": 8}}}
//
// requested is the largest cost; null if it is beyond all budgets. Of several budgets under one policy, those of several
// keys, the one with the least remaining is told.
func (o *Operation) addCost(resp *graphql.Response) {
	requested := int64(0)
	budgets := o.answers.budgets
	policies := make(map[string]any, len(budgets))
	least := make(map[string]int64, len(budgets))
	for i := range budgets {
		b := &budgets[i]
		requested = max(requested, b.cost)
		if n, ok := least[b.policy]; ok && n <= b.decision.Remaining {
			continue
		}
		least[b.policy] = b.decision.Remaining
		policies[b.policy] = map[string]any{
			"cost": count(b.cost), "limit": b.decision.Limit, "remaining": b.decision.Remaining,
			"resetAfter": guard.Seconds(b.decision.ResetAfter),
		}
	}
	cost := map[string]any{"requested": count(requested), "policy": policies}
	if o.ext.counts {
		cost["resolved"] = o.ResolvedFields()
	}
	if resp.Extensions == nil {
		resp.Extensions = make(map[string]any, 1)
	}
	resp.Extensions["cost"] = cost
}

// count is a cost as JSON has it: null if it was not counted to the end.
func count(n int64) any {
	if n >= TooComplex {
		return nil
	}
	return n
}
