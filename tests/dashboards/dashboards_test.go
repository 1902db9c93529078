package dashboards

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// dashboard is what this test wants to know of Grafana's model.
type dashboard struct {
	Title      string
	UID        string
	Panels     []panel
	Templating struct {
		List []struct {
			Name     string
			Type     string
			AllValue string
			Query    json.RawMessage
		}
	}
}

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	Targets     []struct{ Expr, RefID string }
	GridPos     struct{ X, Y, W, H int }
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(docs, "halt.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// all replaces Grafana's variables as it does when all of each are chosen. The interval is several scrapes.
var all = strings.NewReplacer("$__rate_interval", "5s", "$policy", ".*", "$route", ".*", "$store", ".*")

// TestDashboards: on a real Prometheus every panel's query, every variable, every recording rule and every alert has series.
func TestDashboards(t *testing.T) {
	s := newService(t)
	p := startPrometheus(t, s.metrics.URL)
	s.serve()
	has := func(t *testing.T, what, expr string) {
		t.Helper()
		if strings.Contains(expr, "$") {
			t.Errorf("%s: an unknown variable: %s", what, expr)
			return
		}
		eventually(t, what, func(ctx context.Context) error {
			got, err := p.query(ctx, expr)
			if err == nil && len(got) == 0 {
				err = errors.New("no series: " + expr)
			}
			return err
		})
	}

	t.Run("panels", func(t *testing.T) {
		n := 0
		for _, panel := range readDashboard(t).Panels {
			for _, target := range panel.Targets {
				n++
				has(t, panel.Title+" "+target.RefID, all.Replace(target.Expr))
			}
		}
		if n < 15 {
			t.Errorf("only %d queries were found", n)
		}
	})
	t.Run("variables", func(t *testing.T) {
		for _, v := range readDashboard(t).Templating.List {
			if v.Type != "query" {
				continue
			}
			var q struct{ Query string }
			if err := json.Unmarshal(v.Query, &q); err != nil {
				t.Fatal(err)
			}
			args, ok := strings.CutPrefix(strings.TrimSuffix(q.Query, ")"), "label_values(")
			metric, label, found := strings.Cut(args, ", ")
			if !ok || !found || v.AllValue != ".*" {
				t.Errorf("%s: %s, all is %s", v.Name, q.Query, v.AllValue)
				continue
			}
			eventually(t, v.Name, func(ctx context.Context) error {
				var values []string
				err := p.ask(ctx, "label/"+label+"/values", url.Values{"match[]": {metric}}, &values)
				if err == nil && len(values) == 0 {
					err = errors.New("no values: " + q.Query)
				}
				return err
			})
		}
	})
	t.Run("rules", func(t *testing.T) {
		var data struct {
			Groups []struct {
				Rules []struct{ Name, Type, Query string }
			}
		}
		if err := p.ask(t.Context(), "rules", nil, &data); err != nil {
			t.Fatal(err)
		}
		n := map[string]int{}
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				n[r.Type]++
				expr := r.Query
				if r.Type == "recording" {
					expr = r.Name
				}
				has(t, r.Name, expr)
			}
		}
		if n["recording"] != 7 || n["alerting"] != 5 {
			t.Errorf("Prometheus has the rules %v", n)
		}
		eventually(t, "every rule's health", func(ctx context.Context) error {
			var data struct {
				Groups []struct {
					Rules []struct{ Name, Health, LastError, State, Type string }
				}
			}
			if err := p.ask(ctx, "rules", nil, &data); err != nil {
				return err
			}
			for _, g := range data.Groups {
				for _, r := range g.Rules {
					if r.Health != "ok" || r.Type == "alerting" && r.State == "inactive" {
						return fmt.Errorf("%s is %s, %s: %s", r.Name, r.Health, r.State, r.LastError)
					}
				}
			}
			return nil
		})
	})
	t.Run("exemplars", func(t *testing.T) {
		for _, metric := range []string{"halt_decisions_total", "halt_store_duration_seconds_bucket"} {
			eventually(t, metric, func(ctx context.Context) error {
				var found []struct {
					Exemplars []struct{ Labels map[string]string }
				}
				err := p.ask(ctx, "query_exemplars", url.Values{"query": {metric}, "start": {"0"}, "end": {"9999999999"}}, &found)
				if err == nil && (len(found) == 0 || found[0].Exemplars[0].Labels["trace_id"] == "") {
					err = fmt.Errorf("no link to a trace: %v", found)
				}
				return err
			})
		}
	})
	t.Run("metrics", func(t *testing.T) {
		text, err := s.scrape()
		if err != nil {
			t.Fatal(err)
		}
		promtool(t, text, "check", "metrics")
	})
}

// TestDashboardModel: what Grafana does not complain about and still shows wrong.
func TestDashboardModel(t *testing.T) {
	d := readDashboard(t)
	if d.Title == "" || d.UID == "" {
		t.Error("no title or uid")
	}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && (p.Title == "" || p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %d, %q, lacks a title, a description or a query", p.ID, p.Title)
		}
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%q is wider than the page", p.Title)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, is := taken[at]; is {
					t.Fatalf("%q lies upon %q", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
	}
}

// TestRules: promtool finds nothing wrong, and the alerts say what they should of made-up histories.
func TestRules(t *testing.T) {
	promtool(t, "", "check", "rules", filepath.Join(docs, "recording.yml"), filepath.Join(docs, "alerts.yml"))
	promtool(t, "", "test", "rules", "testdata/alerts_test.yml")
}

// promtool runs Prometheus's tool, which comes with it, and fails the test if it complains.
func promtool(t *testing.T, input string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("promtool is not installed; install it, on Debian by: apt-get install prometheus")
	}
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
