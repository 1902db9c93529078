// Command demo limits real HTTP requests: the same routes in every framework that Halt has an adapter for, each on a port
// of its own, and all on one store, so that a budget spent through one is spent for the others.
//
//	go run ./demo          serves, and prints curl lines to try
//	go run ./demo -drive   also sends traffic through all servers, prints what was admitted and refused, and fails if a
//	                       count is not what its policy says
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
	"syscall"
	"time"

	"github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// server is one framework's.
type server struct {
	name string
	url  string
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(out)
	drive := flags.Bool("drive", false, "send traffic, print what became of it, and end")
	host := flags.String("host", "127.0.0.1", "address to listen on")
	port := flags.Int("port", 8080, "first of the servers' ports; 0: any that are free")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s := &service{limiter: halt.New(memory.New(nil), nil), plans: newPlanDatabase(50 * time.Millisecond)}
	s.planCache = halt.NewPolicyCache(s.plans.load, nil)

	handlers := []struct {
		name    string
		handler http.Handler
	}{
		{"gin", newGin(s)},
		{"net/http", newNetHTTP(s)},
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, len(handlers))
	var servers []server
	var running []*http.Server
	for i, h := range handlers {
		p := *port
		if p != 0 {
			p += i
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(*host, fmt.Sprint(p)))
		if err != nil {
			return err
		}
		srv := &http.Server{Handler: h.handler, ReadHeaderTimeout: 5 * time.Second}
		running = append(running, srv)
		servers = append(servers, server{h.name, "http://" + l.Addr().String()})
		go func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		for _, srv := range running {
			_ = srv.Shutdown(ctx) // the program ends anyway
		}
	}()
	printCurls(out, servers)
	if *drive {
		return driveAll(ctx, out, s, servers)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}
