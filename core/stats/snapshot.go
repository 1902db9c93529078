package stats

import (
	"time"
)

// Snapshot is what a [Collector] has counted up to an instant. It shares no memory with the Collector, and marshals to the
// JSON that the dashboard gets. Durations in it are in nanoseconds.
//
// Totals, rates and routes count calls that have a Take, and as Errors all that the store failed; policies and plans count
// charges, so a call under three policies counts once for each. A Limiter's Peek is a question and no decision: it is not
// counted.
type Snapshot struct {
	Since time.Time `json:"since"` // when the Collector was made
	At    time.Time `json:"at"`

	Total      Counts         `json:"total"`
	LastMinute Rates          `json:"last_minute"`
	LastHour   Rates          `json:"last_hour"`
	Seconds    []Counts       `json:"seconds"` // the last 60 whole seconds, oldest first
	Minutes    []Counts       `json:"minutes"` // the last 60 whole minutes, oldest first
	Policies   []PolicyCounts `json:"policies"`
	Plans      []PlanCounts   `json:"plans"`
	Routes     []RouteCounts  `json:"routes"`
	// Errors are the calls that were not decided, by halt.ErrorKind. Those that were "canceled" by the caller are no failures,
	// and counted only here.
	Errors map[string]int64 `json:"errors"`

	// QuotasExceeded is how many charges calendar quotas have refused: policies with a Period.
	QuotasExceeded int64 `json:"quotas_exceeded"`

	TopRefused  TopKeys `json:"top_refused"`  // by refusals
	TopSpending TopKeys `json:"top_spending"` // by cost of Takes and Debits, InFlight policies aside

	Store       string        `json:"store"`        // what kind of store decides, such as "memory"
	Latency     Latency       `json:"latency"`      // of the store, in about the last minute
	LatencyEver Latency       `json:"latency_ever"` // since the Collector was made
	FailingOpen []FailingOpen `json:"failing_open"` // newest first, at most 20
}

// Counts are calls, by what became of them.
type Counts struct {
	Allowed       int64 `json:"allowed"`
	Refused       int64 `json:"refused"`        // those that were Blocked included
	Blocked       int64 `json:"blocked"`        // refused by a policy's Block
	ShadowRefused int64 `json:"shadow_refused"` // some Shadow charge of the call was refused; the call may have been allowed
	Errors        int64 `json:"errors"`         // the store failed: neither allowed nor refused
	FailedOpen    int64 `json:"failed_open"`    // of the Errors: the caller went on as if admitted
}

// Rates are calls per second.
type Rates struct {
	Allowed       float64 `json:"allowed"`
	Refused       float64 `json:"refused"`
	ShadowRefused float64 `json:"shadow_refused"`
	Errors        float64 `json:"errors"`
}

// ChargeCounts are charges, by what became of them.
type ChargeCounts struct {
	Allowed       int64 `json:"allowed"`        // Takes that were spent
	Refused       int64 `json:"refused"`        // Takes that this policy refused, those Blocked included
	Blocked       int64 `json:"blocked"`        // Takes that its Block refused
	Errors        int64 `json:"errors"`         // charges that were not decided
	ShadowAllowed int64 `json:"shadow_allowed"` // Shadow charges that fit
	ShadowRefused int64 `json:"shadow_refused"` // Shadow charges that did not
	// Cost is that of Takes that were spent and of Debits, less that of Credits.
	Cost int64 `json:"cost"`
}

// PolicyCounts are the charges of a policy and plan.
type PolicyCounts struct {
	Policy string `json:"policy"` // or Other
	Plan   string `json:"plan"`
	// What the policy was when it last decided; zero if it never did, or is Other.
	Algorithm string        `json:"algorithm"`
	Limit     int64         `json:"limit"` // halt.Unlimited is -1
	Window    time.Duration `json:"window"`
	Period    string        `json:"period"`   // of a calendar quota, such as "month,UTC"
	Capacity  int64         `json:"capacity"` // what can be spent at once: the burst of a bucket, else Limit

	ChargeCounts
	// Utilisation is what part of the capacity keys had used when they were decided, in about the last minute: 0 to 1, 1
	// meaning that nothing remained. Mean is over decisions, so it weighs busy keys more; Peak is the largest.
	Mean float64 `json:"utilisation_mean"`
	Peak float64 `json:"utilisation_peak"`
	// Takes and refusals per second, and Shadow refusals, in about the last minute.
	Rates Rates `json:"rates"`
}

// PlanCounts are the charges of all policies of a plan.
type PlanCounts struct {
	Plan string `json:"plan"`
	ChargeCounts
}

// RouteCounts are the calls of a route.
type RouteCounts struct {
	Route string `json:"route"` // or Other
	Counts
}

// TopKeys are the keys with the most refusals or cost, most first, counted per policy. They come from a sketch, Space-Saving
// (Metwally, Agrawal, El Abbadi, ICDT 2005): counts can be too high, by the Error of their [KeyCount], which is at most
// 1/1820 of Total; and a key whose count is above Unlisted is sure to be known. Keys are told apart by a hash of 56 bits.
type TopKeys struct {
	Keys []KeyCount `json:"keys"`
	// Total is the sum over all keys, those not listed included.
	Total int64 `json:"total"`
	// Unlisted bounds the true count of every key that the sketch does not hold.
	Unlisted int64 `json:"unlisted_at_most"`
	// Shown tells whether Key is the key, as with Options.ShowKeys, or a pseudonym.
	Shown bool `json:"shown"`
}

// KeyCount is a key of a list of top keys. Its true count lies between Count-Error and Count.
type KeyCount struct {
	Policy string `json:"policy"`
	Plan   string `json:"plan"`
	Key    string `json:"key"`
	Count  int64  `json:"count"`
	Error  int64  `json:"error"`
	// Quota is set of keys of a calendar quota: those with refusals have exceeded it.
	Quota bool `json:"quota"`
}

// Latency is how long the store took to decide, failures included: quantiles to 1/16, up to two minutes. Of a store that
// answers within a microsecond only a sample is timed, one call in 64.
type Latency struct {
	Measured int64         `json:"measured"` // how many calls were timed
	P50      time.Duration `json:"p50"`
	P90      time.Duration `json:"p90"`
	P99      time.Duration `json:"p99"`
	Max      time.Duration `json:"max"`
}

// FailingOpen is a period in which decisions failed open. It ends when none has for ten seconds.
type FailingOpen struct {
	From      time.Time `json:"from"` // the first such decision
	To        time.Time `json:"to"`   // the last
	Ongoing   bool      `json:"ongoing"`
	Decisions int64     `json:"decisions"`
}

// Snapshot returns what was counted. A call that ends meanwhile is in all of its counters or in none, the lists of top keys
// aside. It takes in the order of 100 µs, and holds decisions up for no longer than it takes to copy a stripe.
func (c *Collector) Snapshot() Snapshot {
	for i := range c.stripes {
		s := &c.stripes[i]
		s.mu.Lock()
		s.spending.flush()
		s.refusals.flush()
		s.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.ticking.Load() { // what there may be is new
		c.history.advance(now)
	}
	c.roll(now)
	h := &c.history
	s := Snapshot{
		Since: h.start.Round(0), At: now.Round(0), Total: Counts(h.total), Store: h.store,
		Seconds: points(h.seconds[:], h.second), Minutes: points(h.minutes[:], h.second/60),
		Policies: []PolicyCounts{}, Plans: []PlanCounts{}, Routes: []RouteCounts{}, // JSON's [], not null
	}
	age := now.Sub(h.start)
	s.LastMinute, s.LastHour = rates(h.seconds[:], age, time.Second), rates(h.minutes[:], age, time.Minute)
	policies, routes := c.names.all()
	s.addPolicies(h, policies, age)
	s.addRoutes(h, routes)
	s.TopRefused = c.top(&c.refused, policies, h)
	s.TopSpending = c.top(&c.spending, policies, h)
	var minute histogram
	for i := range h.recent {
		minute.add(&h.recent[i])
	}
	s.Latency, s.LatencyEver = minute.latency(), h.latency.latency()
	s.Errors, s.FailingOpen = c.failures.snapshot(now)
	return s
}
