package adaptertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestGolden holds the golden transcript against what is true of every answer, so that no regeneration can slip by.
func TestGolden(t *testing.T) {
	n := 0
	for _, e := range entries(golden) {
		if strings.HasPrefix(e, "=") {
			continue
		}
		if head, _, _ := strings.Cut(e, "\n"); !strings.HasSuffix(head, "is released") {
			if n++; !strings.HasPrefix(head, fmt.Sprintf("#%d at ", n)) {
				t.Fatalf("request %d is told as %s", n, head)
			}
		}
		if err := plausible(e); err != nil {
			t.Errorf("%v:\n%s", err, e)
		}
	}
	if n < 200 {
		t.Errorf("only %d requests", n)
	}
}

var (
	policyItem = regexp.MustCompile(`^"([A-Za-z0-9._-]+)";q=\d+(?:;w=[1-9]\d*)?$`)
	limitItem  = regexp.MustCompile(`^"([A-Za-z0-9._-]+)";r=\d+(?:;t=(\d+))?$`)
)

// plausible checks one entry of a transcript.
func plausible(entry string) error {
	var status, body string
	fields := map[string]string{}
	head, rest, _ := strings.Cut(entry, "<\n")
	for line := range strings.Lines(rest) {
		body += strings.TrimPrefix(line, "< ")
	}
	for line := range strings.Lines(head) {
		line, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "< ")
		switch name, value, _ := strings.Cut(line, ": "); {
		case !ok:
		case status == "":
			status = line[:3]
		case fields[name] != "":
			return fmt.Errorf("%s comes twice", name)
		default:
			fields[name] = value
		}
	}
	times, err := items(fields["Ratelimit-Policy"], fields["Ratelimit"])
	if err != nil || status == "" { // held: it is answered later
		return err
	}
	retry, has := fields["Retry-After"]
	problem := fields["Content-Type"] == "application/problem+json"
	switch {
	case strings.Contains(body, secret):
		return errors.New("it tells internals")
	case status == "429" != (problem && strings.Contains(body, "violated-policies") || problem && body == "" && has):
		return errors.New("a 429 is a problem with violated policies, and nothing else is")
	case (status == "400" || status == "503") && (!problem || has):
		return fmt.Errorf("a %s is a problem without a Retry-After", status)
	case status[0] == '2' && (problem || has):
		return errors.New("an answer of the handler's with a problem or a Retry-After")
	case status != "429" || body == "":
		return nil
	}
	var p struct {
		Type     string
		Title    string
		Status   int
		Violated []string `json:"violated-policies"`
	}
	if err := json.Unmarshal([]byte(strings.TrimSuffix(strings.TrimSpace(body), " (no newline)")), &p); err != nil {
		return err
	}
	if p.Type != "https://iana.org/assignments/http-problem-types#quota-exceeded" || p.Status != 429 || len(p.Violated) == 0 {
		return errors.New("not the problem of an exceeded quota")
	}
	if len(times) == 0 {
		return nil // no figures to compare with: in another style, or none
	}
	longest := int64(0)
	for _, name := range p.Violated {
		after, shown := times[name]
		switch {
		case !shown:
			after = 1 // in flight: a hint
		case after < 0 && has:
			return fmt.Errorf("%s never admits it, and still there is a Retry-After", name)
		}
		longest = max(longest, after)
	}
	if longest > 0 && retry != strconv.FormatInt(longest, 10) {
		return fmt.Errorf("Retry-After is %q, and the longest t of the violated policies %d", retry, longest)
	}
	return nil
}

// items returns the t of each item of RateLimit, -1 where there is none, and checks that both fields name the same
// policies in the same order, each once.
func items(policies, limits string) (map[string]int64, error) {
	if policies == "" && limits == "" {
		return nil, nil
	}
	ps, ls := strings.Split(policies, ", "), strings.Split(limits, ", ")
	if len(ps) != len(ls) {
		return nil, fmt.Errorf("%d policies and %d limits", len(ps), len(ls))
	}
	times := map[string]int64{}
	for i := range ps {
		p, l := policyItem.FindStringSubmatch(ps[i]), limitItem.FindStringSubmatch(ls[i])
		if p == nil || l == nil || p[1] != l[1] {
			return nil, fmt.Errorf("%s and %s are no pair of items", ps[i], ls[i])
		}
		if _, twice := times[p[1]]; twice {
			return nil, fmt.Errorf("policy %s comes twice", p[1])
		}
		times[p[1]] = -1
		if l[2] != "" {
			times[p[1]], _ = strconv.ParseInt(l[2], 10, 64) // digits
		}
	}
	return times, nil
}
