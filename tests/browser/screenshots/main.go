// Command screenshots makes the pictures of the dashboard that the documentation shows, from traffic of its own. It takes a
// little more than a minute, so that the charts are full.
//
//	go run ./browser/screenshots -out ../docs/img
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/halt-dev/halt/core/stats"
	"github.com/halt-dev/halt/tests/browser"
)

func main() {
	out := flag.String("out", ".", "folder to write to")
	after := flag.Duration("after", 65*time.Second, "how long the traffic goes on before the pictures are taken")
	flag.Parse()
	if err := run(context.Background(), *out, *after); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out string, after time.Duration) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c := stats.New(&stats.Options{TopKeys: 8, ShowKeys: true})
	played := make(chan error, 1)
	go func() { played <- browser.Play(ctx, c) }()
	mux := http.NewServeMux()
	mux.Handle("/halt/", c.Handler())
	server := httptest.NewServer(mux)
	defer server.Close()
	chromium, quit, err := browser.Start(ctx)
	if err != nil {
		return err
	}
	defer quit()
	select {
	case err := <-played:
		return err
	case <-time.After(after):
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, look := range browser.Looks {
		png, err := picture(chromium, look, server.URL+"/halt/")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, "dashboard-"+look.Name+".png"), png, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// picture returns a PNG of the whole page.
func picture(chromium context.Context, look browser.Look, url string) ([]byte, error) {
	tab, closeTab := browser.Tab(chromium, func(s string) { fmt.Fprintln(os.Stderr, "complaint:", s) })
	defer closeTab()
	if err := chromedp.Do(tab, browser.As(look), chromedp.Navigate(url), browser.Live(2)); err != nil {
		return nil, err
	}
	return chromedp.Run(tab, chromedp.FullScreenshot(100))
}
