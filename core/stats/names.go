package stats

import (
	"strings"
	"sync"
	"unicode/utf8"

	halt "github.com/halt-dev/halt/core"
)

// Other is what policies and routes beyond the bound are counted as. It is no valid name of a policy.
const Other = "(other)"

const (
	maxPolicies = 128 // with their plan
	maxRoutes   = 256
	maxLabel    = 128 // bytes that are kept of a plan or route
	knownNames  = 64
)

type policyName struct{ name, plan string }

// names numbers policies and routes in the order of their appearance. Number 0 is Other.
type names struct {
	mu       sync.RWMutex
	policyOf map[policyName]int32
	routeOf  map[string]int32
	policies []policyName
	routes   []string
}

func (n *names) init() {
	n.policyOf = map[policyName]int32{}
	n.routeOf = map[string]int32{}
	n.policies = []policyName{{Other, Other}}
	n.routes = []string{Other}
}

// policy returns the number of a policy, and its name in memory of its own.
func (n *names) policy(p policyName) (int32, policyName) {
	p.plan = clip(p.plan)
	n.mu.RLock()
	i, ok := n.policyOf[p]
	full := len(n.policies) > maxPolicies
	if ok {
		p = n.policies[i]
	}
	n.mu.RUnlock()
	if ok || full {
		return i, p
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if i, ok = n.policyOf[p]; ok || len(n.policies) > maxPolicies {
		return i, p
	}
	i = int32(len(n.policies))
	p = policyName{strings.Clone(p.name), strings.Clone(p.plan)}
	n.policies = append(n.policies, p)
	n.policyOf[p] = i
	return i, p
}

// route returns the number of a route.
func (n *names) route(r string) int32 {
	r = clip(r)
	n.mu.RLock()
	i, ok := n.routeOf[r]
	full := len(n.routes) > maxRoutes
	n.mu.RUnlock()
	if ok || full {
		return i
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if i, ok = n.routeOf[r]; ok || len(n.routes) > maxRoutes {
		return i
	}
	i = int32(len(n.routes))
	r = strings.Clone(r)
	n.routes = append(n.routes, r)
	n.routeOf[r] = i
	return i
}

// all returns the names by number. They are not to be changed.
func (n *names) all() ([]policyName, []string) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.policies, n.routes
}

func clip(s string) string {
	if len(s) > maxLabel {
		return whole(s[:maxLabel])
	}
	return s
}

// policy returns the stripe's counters for a policy. It remembers where those of a name were.
func (c *Collector) policy(s *stripe, p *halt.Policy) *policyCell {
	known := &s.known[slotOf(p.Name, p.Plan)]
	if cell := *known; cell != nil && cell.name == p.Name && (len(cell.plan)+len(p.Plan) == 0 || cell.plan == p.Plan) {
		return cell
	}
	number, name := c.names.policy(policyName{p.Name, p.Plan})
	for n := len(s.policies); n <= int(number); n++ {
		s.policies = append(s.policies, &policyCell{number: int32(n)})
	}
	cell := s.policies[number]
	if number != 0 { // Other goes by many names
		cell.policyName = name
		*known = cell
	}
	return cell
}

// slotOf spreads names: not those that somebody chose so that they meet, but nobody gains by that.
func slotOf(name, plan string) uint {
	h := uint(len(name) + 31*len(plan))
	if name != "" {
		h += 7 * uint(name[len(name)-1])
	}
	if plan != "" {
		h += 5 * uint(plan[0])
	}
	return h % knownNames
}

// route returns the stripe's counters for a route.
func (c *Collector) route(s *stripe, r string) *tally {
	n := c.names.route(r)
	for int(n) >= len(s.routes) {
		s.routes = append(s.routes, tally{})
	}
	return &s.routes[n]
}

// whole returns s without what a cut may have left of a character at its end.
func whole(s string) string {
	for n := 1; n < utf8.UTFMax && n <= len(s); n++ {
		if c := s[len(s)-n]; utf8.RuneStart(c) {
			if !utf8.FullRuneInString(s[len(s)-n:]) {
				return s[:len(s)-n]
			}
			break
		}
	}
	return s
}
