package presets

import (
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Policies for kinds of endpoints.
var (
	// PublicAPI allows 100 requests a minute, evenly, and bursts of 120: for an API open to the world. Key: the client's
	// address (ByIP), or the API key if something has verified it.
	PublicAPI = halt.Policy{Name: "public-api", Limit: 100, Window: time.Minute, Burst: 120}

	// AuthEndpoints allows 5 failures in any minute and then blocks for 5 minutes: for logins, password resets and codes.
	// Key: the account and the address together (ByIP().And(…)), so that nobody can lock somebody else out. Rule: with
	// Settle set to ChargeOn(401, 403), so that only failures count. Normalise the account (case, spaces) as the login does,
	// or each spelling has a budget. Logins of one account that run at once hold a place each until they are answered.
	AuthEndpoints = halt.Policy{
		Name: "auth", Limit: 5, Window: time.Minute, Algorithm: halt.SlidingWindow, Block: 5 * time.Minute,
	}

	// ExpensiveOps allows 10 operations an hour, all 10 at once if need be: for exports, reports and uploads. Key: the user.
	ExpensiveOps = halt.Policy{Name: "expensive-ops", Limit: 10, Window: time.Hour}

	// StrictAPI allows 20 requests a minute and bursts of 25: for an API whose calls are costly. Key: the user or API key.
	StrictAPI = halt.Policy{Name: "strict-api", Limit: 20, Window: time.Minute, Burst: 25}

	// GenerousAPI allows 1000 requests a minute and bursts of 1200: for internal and trusted callers. Key: the calling
	// service, or the API key.
	GenerousAPI = halt.Policy{Name: "generous-api", Limit: 1000, Window: time.Minute, Burst: 1200}
)
