package browser_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
	"github.com/halt-dev/halt/core/stats"
	"github.com/halt-dev/halt/tests/browser"
)

// program is the demo, built once.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "halt-demo-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		program = filepath.Join(dir, "demo")
		build := exec.Command("go", "build", "-o", program, ".")
		build.Dir = filepath.Join("..", "..", "demo")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "building the demo:", err)
			return 1
		}
		return m.Run()
	}())
}

// demo starts the demo, and returns the addresses of a server of it and of its dashboard.
func demo(t *testing.T) (server, dashboard string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	run := exec.CommandContext(ctx, program, "-port", "0")
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = run.Wait() // it was killed
	})
	address := regexp.MustCompile(`See what happens: (http://[^/]*)(\S*)`)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := address.FindStringSubmatch(lines.Text()); m != nil {
			return m[1], m[1] + m[2]
		}
	}
	t.Fatal("the demo does not say where its dashboard is")
	return "", ""
}

// sent is what was sent to a route, by its answers.
type sent struct{ allowed, refused int }

// send sends so many requests to a route and counts the answers.
func send(t *testing.T, server, path string, times int, apiKey string) (s sent) {
	t.Helper()
	for range times {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-API-Key", apiKey)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusOK:
			s.allowed++
		case http.StatusTooManyRequests:
			s.refused++
		default:
			t.Fatalf("%s: %s", path, resp.Status)
		}
	}
	return s
}

// open opens the dashboard in a tab, and fails the test if the browser has anything to say against the page.
func open(chromium context.Context, t *testing.T, address string, look browser.Look) context.Context {
	t.Helper()
	var mu sync.Mutex
	var complaints []string
	tab, closeTab := browser.Tab(chromium, func(s string) {
		mu.Lock()
		defer mu.Unlock()
		complaints = append(complaints, s)
	})
	t.Cleanup(func() {
		closeTab()
		mu.Lock()
		defer mu.Unlock()
		if len(complaints) > 0 {
			t.Errorf("the browser complains:\n%s", strings.Join(complaints, "\n"))
		}
	})
	if err := chromedp.Do(tab, browser.As(look), chromedp.Navigate(address), browser.Live(1)); err != nil {
		t.Fatal(err)
	}
	return tab
}

func evaluate[T any](tab context.Context, t *testing.T, expression string) T {
	t.Helper()
	v, err := chromedp.Run(tab, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func start(t *testing.T) context.Context {
	t.Helper()
	chromium, stop, err := browser.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return chromium
}

// row is an expression of a table's row of that name, as text by column.
func row(table, name string) string {
	return fmt.Sprintf(`Object.fromEntries([...document.querySelectorAll("#%s tbody tr")].
		filter((r) => r.cells[0].textContent === %q).flatMap((r) => [...r.cells]).map((c) => [c.dataset.label, c.textContent]))`, table, name)
}

// TestNumbersMove sends traffic through the demo while its dashboard is open, and compares what the page says with what was
// sent.
func TestNumbersMove(t *testing.T) {
	server, address := demo(t)
	tab := open(start(t), t, address, browser.Looks[0])
	if got := evaluate[string](tab, t, `document.getElementById("policies-table").tBodies[0].textContent`); got != "Nothing was decided yet." {
		t.Errorf("before anything was sent: %q", got)
	}

	bucket := send(t, server, "/token-bucket", 15, "")
	quota := send(t, server, "/quota", 14, "any")
	plan := send(t, server, "/plan", 7, "free-key")
	shadow := send(t, server, "/shadow", 5, "")
	search := send(t, server, "/search?size=30", 4, "")
	all := sent{
		bucket.allowed + quota.allowed + plan.allowed + shadow.allowed + search.allowed,
		bucket.refused + quota.refused + plan.refused + shadow.refused + search.refused,
	}
	if all != (sent{10 + 12 + 5 + 5 + 3, 5 + 2 + 2 + 1}) {
		t.Fatalf("sent %+v", all)
	}
	// Both figures come with one snapshot.
	if err := chromedp.Do(tab, browser.Until(fmt.Sprintf(
		`document.getElementById("allowed").textContent === "%d" && document.getElementById("refused").textContent === "%d"`,
		all.allowed, all.refused))); err != nil {
		t.Fatalf("the page does not get to %+v: %v; it says %s", all, err, evaluate[string](tab, t, `document.getElementById("figures").innerText`))
	}
	for name, want := range map[string]map[string]string{
		"token-bucket": {"Allowed": fmt.Sprint(bucket.allowed), "Refused": fmt.Sprint(bucket.refused), "Limit": "10 per h", "Peak": "100%"},
		"monthly":      {"Allowed": fmt.Sprint(quota.allowed), "Refused": fmt.Sprint(quota.refused), "Limit": "12 per month"},
		"plan · free":  {"Allowed": fmt.Sprint(plan.allowed), "Refused": fmt.Sprint(plan.refused), "Limit": "5 per h"},
		"tighter":      {"Shadow": "2", "Refused": "0"},
		"search":       {"Cost": "90", "Refused": fmt.Sprint(search.refused)},
	} {
		got := evaluate[map[string]string](tab, t, row("policies-table", name))
		for column, text := range want {
			if got[column] != text {
				t.Errorf("%s: %s is %q, not %q", name, column, got[column], text)
			}
		}
	}
	for id, want := range map[string]string{"quotas": fmt.Sprint(quota.refused), "shadow": "2", "errors": "0", "blocked": "0", "state": "Live"} {
		if got := evaluate[string](tab, t, fmt.Sprintf("document.getElementById(%q).textContent", id)); got != want {
			t.Errorf("%s is %q, not %q", id, got, want)
		}
	}
	if got := evaluate[map[string]string](tab, t, row("refused-table", "user:frida")); got["Refused"] != fmt.Sprint(plan.refused) {
		t.Errorf("most refused keys: %v", got)
	}
	// The chart shows as many as were sent, spread over some seconds.
	if err := chromedp.Do(tab, browser.Until(`document.querySelectorAll("#chart .area-allowed").length > 0`)); err != nil {
		t.Error(err)
	}
	if got := evaluate[int](tab, t, `document.querySelectorAll("#chart .area-refused").length`); got == 0 {
		t.Error("the chart shows no refusals")
	}
	// The span is chosen with the keyboard.
	if err := chromedp.Do(tab, chromedp.Focus(chromedp.CSS("input[name=span]:checked")), chromedp.KeyEvent(kb.ArrowRight),
		browser.Until(`document.querySelector("#chart").textContent.includes("60 min ago")`)); err != nil {
		t.Error(err)
	}
}

// TestEveryLook checks both themes and the width of a phone: nothing is cut off, every text has the contrast of WCAG's AA,
// and what can be scrolled or chosen can be reached with the keyboard.
func TestEveryLook(t *testing.T) {
	server, address := demo(t)
	chromium := start(t)
	send(t, server, "/token-bucket", 12, "")
	send(t, server, "/plan", 6, "free-key")
	send(t, server, "/shadow", 5, "")
	for _, look := range browser.Looks {
		t.Run(look.Name, func(t *testing.T) {
			tab := open(chromium, t, address, look)
			if err := chromedp.Do(tab, browser.Until(`document.querySelectorAll("#policies-table tbody tr").length >= 4`)); err != nil {
				t.Fatal(err)
			}
			if got := evaluate[int64](tab, t, `document.documentElement.scrollWidth`); got > look.Width {
				t.Errorf("the page is %d wide, the screen %d", got, look.Width)
			}
			if got := evaluate[[]string](tab, t, clipped); len(got) > 0 {
				t.Errorf("cut off: %q", got)
			}
			if got := evaluate[[]string](tab, t, pale); len(got) > 0 {
				t.Errorf("too little contrast: %q", got)
			}
			if got := evaluate[[]string](tab, t, unnamed); len(got) > 0 {
				t.Errorf("without a name for screen readers, or out of the keyboard's reach: %q", got)
			}
			dark := evaluate[string](tab, t, `getComputedStyle(document.body).backgroundColor`) == "rgb(18, 22, 26)"
			if dark != look.Dark {
				t.Errorf("dark is %v", dark)
			}
		})
	}
}

// clipped lists the tables that don't fit their place.
const clipped = `[...document.querySelectorAll(".scroll")].filter((e) => e.scrollWidth > e.clientWidth + 1).
	map((e) => e.firstElementChild.id + " " + e.scrollWidth + " > " + e.clientWidth)`

// pale lists texts whose contrast to what they stand on is below 4.5 to 1.
const pale = `(() => {
	const rgb = (s) => { const m = s.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
	const light = ([r, g, b]) => { const f = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
		return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
	const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; }
		return [255, 255, 255, 1]; };
	const found = new Set();
	for (const e of document.querySelectorAll("body *")) {
		const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
		if (!own || e.closest("script, noscript, title, .spoken, .skip") || !e.getClientRects().length) continue;
		const style = getComputedStyle(e);
		const a = light(rgb(e instanceof SVGElement ? style.fill : style.color)), b = light(ground(e));
		const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (contrast < 4.5) found.add(e.textContent.trim().slice(0, 30) + " " + contrast.toFixed(2));
	}
	return [...found];
})()`

// unnamed lists what a screen reader or a keyboard could not use.
const unnamed = `[
	...[...document.querySelectorAll("table")].filter((t) => ![...t.querySelectorAll("thead th")].every((h) => h.scope === "col" && h.textContent)),
	...[...document.querySelectorAll("tbody tr")].filter((r) => !r.querySelector("th[scope=row], td.empty")),
	...[...document.querySelectorAll("section, .scroll")].filter((s) => !document.getElementById(s.getAttribute("aria-labelledby"))),
	...[...document.querySelectorAll(".scroll, input")].filter((e) => e.tabIndex < 0),
	...[...document.querySelectorAll("input")].filter((e) => !e.labels.length),
	...[...document.querySelectorAll("#spoken")].filter((e) => e.getAttribute("aria-live") !== "polite"),
].map((e) => e.outerHTML.slice(0, 80))`

// TestMountedAnywhere opens the page under several prefixes, with and without a slash at the end, and with a query of
// somebody else's: it finds its files and its stream.
func TestMountedAnywhere(t *testing.T) {
	chromium := start(t)
	c := stats.New(nil)
	if _, err := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{c}}).
		Allow(t.Context(), halt.Policy{Name: "api", Limit: 1, Window: time.Hour}, "secret-key"); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/some/halt", c.Handler())
	mux.Handle("/other/halt/", c.Handler())
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	for _, address := range []string{"/some/halt", "/other/halt/", "/other/halt/?from=a+bookmark"} {
		tab := open(chromium, t, server.URL+address, browser.Looks[0])
		if err := chromedp.Do(tab, browser.Until(`document.getElementById("allowed").textContent === "1"`)); err != nil {
			t.Error(err)
		}
		// Keys are hidden, and the page says so.
		text := evaluate[string](tab, t, "document.body.innerText")
		if strings.Contains(text, "secret-key") || !strings.Contains(text, "Keys are hidden") {
			t.Errorf("%s: %s", address, text)
		}
		if err := chromedp.Cancel(tab); err != nil { // its stream ends, so that the server can close
			t.Error(err)
		}
	}
}
