// Package browser looks at the dashboard of core/stats with a real browser, Chromium: its test compares what the page says
// with what was sent, and command screenshots makes the pictures of docs/img.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Patience is how long a page may take for anything. Nothing waits for so long unless it fails.
const Patience = 30 * time.Second

// Start starts a Chromium of its own, with nothing of any other's profile. It ends with stop.
func Start(ctx context.Context) (browser context.Context, stop context.CancelFunc, err error) {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if path == "" {
		return nil, nil, errors.New("no Chromium: scripts/prerequisites.sh brings it")
	}
	// Without a UserDataDir the allocator makes a folder, and removes it.
	options := append(chromedp.DefaultExecAllocatorOptions[:], //nolint:gocritic // an array's: append copies
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true))
	allocator, stopAllocator := chromedp.NewExecAllocator(ctx, options...)
	browser, stopBrowser := chromedp.NewContext(allocator)
	stop = func() {
		stopBrowser()
		stopAllocator()
	}
	if err := chromedp.Do(browser); err != nil {
		stop()
		return nil, nil, fmt.Errorf("starting Chromium: %w", err)
	}
	return browser, stop, nil
}

// Tab opens a tab. complaint is told what the browser has to say against the page: uncaught errors, refused resources,
// violations of its policy. It is called from another goroutine.
func Tab(browser context.Context, complaint func(string)) (tab context.Context, closeTab context.CancelFunc) {
	return chromedp.NewContext(browser, chromedp.WithListener(func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			complaint(fmt.Sprintf("%+v", e.ExceptionDetails))
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
				complaint(e.Entry.Text + " " + e.Entry.URL)
			}
		}
	}))
}

// Look is how a page is looked at.
type Look struct {
	Name          string
	Width, Height int64
	Dark          bool
	Phone         bool
}

// Looks are those that the dashboard is made for.
var Looks = []Look{
	{Name: "light", Width: 1280, Height: 900},
	{Name: "dark", Width: 1280, Height: 900, Dark: true},
	{Name: "phone", Width: 390, Height: 844, Phone: true},
}

// As looks at the tab's page like that.
func As(l Look) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, _ *chromedp.Target) (chromedp.Void, error) {
		theme := "light"
		if l.Dark {
			theme = "dark"
		}
		_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: l.Width, Height: l.Height, DeviceScaleFactor: 1, Mobile: l.Phone,
		})
		if err != nil {
			return chromedp.Void{}, err
		}
		_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
			},
		})
		return chromedp.Void{}, err
	}
}

// Live waits until the page has shown so many snapshots.
func Live(snapshots int) chromedp.Action[chromedp.Void] {
	return Until(fmt.Sprintf("Number(document.documentElement.dataset.snapshots || 0) >= %d", snapshots))
}

// Until waits until an expression of the page is true.
func Until(expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Poll[chromedp.Void](expression,
		chromedp.WithPollingTimeout(Patience), chromedp.WithPollingInterval(50*time.Millisecond))
}
