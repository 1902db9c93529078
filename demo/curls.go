package main

import (
	"fmt"
	"io"
)

// printCurls prints what to try by hand.
func printCurls(out io.Writer, servers []server) {
	for _, s := range servers {
		fmt.Fprintf(out, "%-9s listens on %s\n", s.name, s.url)
	}
	fmt.Fprintf(out, "All share one store: what is spent through one is spent for the others. Try:\n\n")
	for _, c := range []struct{ what, flags, path string }{
		{"10 an hour; then 429, with Retry-After and problem details", "", "/token-bucket"},
		{"2 a second, 3 may wait", "", "/leaky-bucket"},
		{"10 per hour of the clock", "", "/fixed-window"},
		{"10 in any hour", "", "/sliding-window"},
		{"by the user's plan: 5 an hour", "-H 'X-API-Key: free-key'", "/plan"},
		{"by the user's plan: 20 an hour", "-H 'X-API-Key: pro-key'", "/plan"},
		{"no key: 400", "", "/plan"},
		{"3 failures, then blocked for 5 minutes; successes don't count", "-d account=ann -d password=wrong", "/login"},
		{"costs its size, of 100 an hour", "", "/search?size=30"},
		{"2 at once, each for 5 s", "", "/in-flight"},
		{"12 per calendar month", "-H 'X-API-Key: any'", "/quota"},
		{"a rule on trial: tells whom it would have refused", "", "/shadow"},
	} {
		if c.flags != "" {
			c.flags += " "
		}
		fmt.Fprintf(out, "  curl -i %s'%s%s'  # %s\n", c.flags, servers[0].url, c.path, c.what)
	}
	for _, s := range servers {
		if s.name == graphqlServer {
			fmt.Fprintf(out, "\nA playground, limited by what queries cost: %s/\n", s.url)
			fmt.Fprintf(out, "  curl -i '%s/query' -H 'Content-Type: application/json' -d '{\"query\": \"{ books(first: 50) { title similar { title } } }\"}'\n", s.url)
		}
	}
	fmt.Fprintln(out)
}
