// Command demo limits real HTTP requests: the same routes in every framework that Halt has an adapter for, each on a port
// of its own, and all on one store, so that a budget spent through one is spent for the others.
//
//	go run ./demo          serves, and prints curl lines to try
//	go run ./demo -drive   also sends traffic through all servers, prints what was admitted and refused, and fails if a
//	                       count is not what its policy says
//	go run ./demo -store redis://localhost:6379   keeps the budgets in a database; -h lists which
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v2"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/demo/graphql"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

const graphqlServer = "graphql"

// server is one framework's, as its clients see it.
type server struct {
	name    string
	url     string
	streams bool // answers while its handler runs, which ends when the client leaves
}

// running is a server as the program sees it.
type running interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
}

// fiberServer is a fiber app as one of them.
type fiberServer struct{ app *fiber.App }

func (s fiberServer) Serve(l net.Listener) error         { return s.app.Listener(l) }
func (s fiberServer) Shutdown(ctx context.Context) error { return s.app.ShutdownWithContext(ctx) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(out)
	drive := flags.Bool("drive", false, "send traffic, print what became of it, and end")
	host := flags.String("host", "127.0.0.1", "address to listen on")
	port := flags.Int("port", 8080, "first of the servers' ports; 0: any that are free")
	storeAt := flags.String("store", "memory:", storeUsage)
	if err := flags.Parse(args); err != nil {
		return err
	}
	observer, metrics, err := newMetrics()
	if err != nil {
		return err
	}
	store, closeStore, err := openStore(ctx, *storeAt)
	if err != nil {
		return err
	}
	defer closeStore()
	if *drive {
		store = newFreshStore(store)
	}
	limiter, statistics := newLimiter(store, observer)
	s := &service{limiter: limiter, plans: newPlanDatabase(50 * time.Millisecond)}
	s.planCache = halt.NewPolicyCache(s.plans.load, nil)

	netHTTP := func(h http.Handler) running { return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second} }
	frameworks := []struct {
		name    string
		server  running
		streams bool
	}{
		{"gin", netHTTP(newGin(s)), true},
		{dashboardServer, netHTTP(withDashboard(ctx, newNetHTTP(s), statistics, metrics)), true},
		{"echo", netHTTP(newEcho(s)), true},
		{"fiber", fiberServer{newFiber(s)}, false},
		{"chi", netHTTP(newChi(s)), true},
		{graphqlServer, netHTTP(graphql.New(limiter)), true},
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, len(frameworks))
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		var ending sync.WaitGroup
		for _, f := range frameworks {
			ending.Go(func() { _ = f.server.Shutdown(ctx) }) // the program ends anyway
		}
		ending.Wait()
	}()
	var servers []server
	for i, f := range frameworks {
		p := *port
		if p != 0 {
			p += i
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(*host, fmt.Sprint(p)))
		if err != nil {
			return err
		}
		servers = append(servers, server{f.name, "http://" + l.Addr().String(), f.streams})
		go func() {
			if err := f.server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
	}
	printCurls(out, servers)
	printDashboard(out, servers)
	if *drive {
		// The GraphQL server has other routes than those that the driver knows; its own tests drive it.
		return driveAll(ctx, out, s, slices.DeleteFunc(servers, func(s server) bool { return s.name == graphqlServer }))
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}
