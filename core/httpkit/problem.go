package httpkit

import (
	"strconv"

	"github.com/halt-dev/halt/core/guard"
)

// ProblemType is the media type of a [Problem].
const ProblemType = "application/problem+json"

// Problem returns the body of a refusal: problem details (RFC 9457), of the type quota-exceeded that
// draft-ietf-httpapi-ratelimit-headers-10 defines, with the names of the policies that refused; other denials are of no
// type but their status. It tells nothing of what went wrong inside.
func Problem(d guard.Denial) []byte {
	b := make([]byte, 0, 192)
	switch d.Reason {
	case guard.MissingKey:
		b = append(b, `{"type":"about:blank","title":"Bad Request","status":400,`...)
		return append(b, `"detail":"The request lacks what says whose limit it counts against."}`...)
	case guard.Unavailable:
		b = append(b, `{"type":"about:blank","title":"Service Unavailable","status":503,`...)
		return append(b, `"detail":"The request's limits could not be checked."}`...)
	default:
	}
	b = append(b, `{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded",`...)
	b = append(b, `"title":"Too Many Requests","status":429,"violated-policies":[`...)
	for i, name := range d.Violated { // names need no escaping
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, name)
	}
	return append(b, "]}"...)
}
