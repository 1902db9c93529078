package dashboards

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/halt-dev/halt/core/storetest/testserver"
)

// docs are the files under test.
const docs = "../../docs/dashboards"

// prometheusServer is a real Prometheus, that scrapes a target each second and evaluates the rules as often.
type prometheusServer struct{ *testserver.Server }

func startPrometheus(t *testing.T, target string) prometheusServer {
	t.Helper()
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [recording.yml, alerts.yml]
scrape_configs:
  - job_name: shop
    static_configs: [{targets: [%q]}]
`, strings.TrimPrefix(target, "http://"))
	return prometheusServer{testserver.Start(t, testserver.Command{
		Program: "prometheus",
		Prepare: func(_ context.Context, s *testserver.Server) error {
			for _, name := range []string{"recording.yml", "alerts.yml"} {
				b, err := os.ReadFile(filepath.Join(docs, name))
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(s.Dir(), name), b, 0o644); err != nil {
					return err
				}
			}
			return os.WriteFile(filepath.Join(s.Dir(), "prometheus.yml"), []byte(config), 0o644)
		},
		Args: func(dir string, port int) []string {
			return []string{
				"--config.file=" + filepath.Join(dir, "prometheus.yml"),
				"--storage.tsdb.path=" + filepath.Join(dir, "data"),
				fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port),
				"--enable-feature=exemplar-storage",
				"--log.level=warn",
			}
		},
		Ready: func(ctx context.Context, s *testserver.Server) error {
			var info struct{ CWD string }
			if err := (prometheusServer{s}).ask(ctx, "status/runtimeinfo", nil, &info); err != nil {
				return err
			}
			if dir, err := filepath.EvalSymlinks(s.Dir()); err != nil || info.CWD != dir {
				return fmt.Errorf("a Prometheus in %s answers: %w", info.CWD, err)
			}
			_, err := get(ctx, http.DefaultClient, "http://"+s.Addr()+"/-/ready")
			return err
		},
		Timeout: time.Minute,
	})}
}

// ask asks Prometheus's API.
func (p prometheusServer) ask(ctx context.Context, path string, values url.Values, into any) error {
	body, err := get(ctx, http.DefaultClient, "http://"+p.Addr()+"/api/v1/"+path+"?"+values.Encode())
	if err != nil {
		return err
	}
	var answer struct {
		Status string
		Error  string
		Data   json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("prometheus: %s", answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// series is one of a query's result.
type series struct {
	Metric map[string]string
	Value  [2]any // when, and what, as a string
}

func (s series) value() string {
	v, _ := s.Value[1].(string)
	return v
}

// query returns the series of an expression that have a value other than NaN.
func (p prometheusServer) query(ctx context.Context, expr string) ([]series, error) {
	var data struct{ Result []series }
	if err := p.ask(ctx, "query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	var all []series
	for _, s := range data.Result {
		if s.value() != "NaN" {
			all = append(all, s)
		}
	}
	return all, nil
}

// patience is how long a series may be in coming: some scrapes, on a machine that has much else to do.
const patience = time.Minute

// eventually asks until f returns nil.
func eventually(t *testing.T, what string, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil {
			last = err // and not that the time was up
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Errorf("%s: %v", what, last)
			return
		}
	}
}

func readAll(r io.Reader) (string, error) {
	b, err := io.ReadAll(r)
	return string(b), err
}
