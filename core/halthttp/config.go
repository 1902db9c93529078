package halthttp

import (
	"net/http"
	"time"

	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// The types that package guard and httpkit share with all adapters, bound to net/http's requests.
type (
	// Rule is one limit: a Policy or a Resolve that finds it, a Key, and what it costs.
	Rule = guard.Rule[*http.Request]
	// Key says whose budget a request draws on: see By, ByIP and the others, Or and And.
	Key = guard.Key[*http.Request]
	// Denial is why a request was denied, and when to come again.
	Denial = guard.Denial
	// Outcome is how a request ended, for a rule's Settle.
	Outcome = guard.Outcome
	// Style says which header fields tell a client about its budgets.
	Style = httpkit.Style
)

// The styles of header fields.
const (
	// Standard is RateLimit-Policy and RateLimit, of draft-ietf-httpapi-ratelimit-headers-10.
	Standard = httpkit.Standard
	// Legacy is X-RateLimit-Limit, -Remaining and -Reset (Unix seconds) of the policy with the least remaining.
	Legacy = httpkit.Legacy
	// NoHeaders is none. A refusal's Retry-After stays.
	NoHeaders = httpkit.NoHeaders
)

// Config are the rules of a [Middleware] and how it answers. Rules is required; the zero value of all else is the
// default.
type Config struct {
	// Rules are the limits. All that apply to a request are decided as one call: either all of them spend, or none.
	Rules []Rule
	// Exempt requests pass without being counted, such as those of Paths("/healthz").
	Exempt func(*http.Request) bool
	// Headers is which header fields tell a client about its budgets. Default: Standard.
	Headers Style
	// FailClosed answers 503 when the store or a rule's function fails. By default a failing store admits, and a failing
	// rule is skipped; observers and OnError are told.
	FailClosed bool
	// Attach lets the handler read what was decided, with [Verdict]. It costs a few allocations.
	Attach bool
	// ResolveTimeout is how long each rule's Resolve may take, told by its context; let it be longer than a
	// PolicyCache's LoadTimeout. Default: 2 s.
	ResolveTimeout time.Duration
	// OnDenied answers denied requests, after the header fields were set. It has to write the status, d.Status() as a rule:
	// if it writes nothing, net/http answers 200. Default: d.Status() and problem details.
	OnDenied func(w http.ResponseWriter, r *http.Request, d Denial)
	// OnError observes what fails, a *guard.RuleError or the store's error, and requests without a key, a *guard.RuleError of
	// guard.ErrNoKey. It must not write to the request. The errors' texts can hold internals.
	OnError func(*http.Request, error)
}
