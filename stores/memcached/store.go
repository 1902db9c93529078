package haltmemcached

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
)

const (
	defaultPrefix  = "halt:"
	longestPrefix  = 100 // what a hashed key leaves of 250 bytes, and some more
	defaultTimeout = 100 * time.Millisecond
)

// Options are a [Store]'s. The zero value, or nil, is the default.
type Options struct {
	// Prefix begins every key that the store writes; "" means "halt:". It must not hold spaces or control characters, nor be
	// longer than 100 bytes.
	Prefix string
	// Timeout is how long a call may take, waiting for its turn included: 0 means 100 ms. A call that takes longer returns an
	// error that matches halt.ErrDeadline; it is then unknown whether it was spent. A connection on which nothing is answered
	// for so long is given up.
	Timeout time.Duration
	// Skew is how far the clocks of the processes may be off: 0 means 3 s, the most are 5 s. See the package's documentation.
	Skew time.Duration
	// Remember is how many entries the store remembers in order to write without reading, those used last: 0 means 65,536. Each
	// takes about 300 bytes, 1.3 KB at most. Storage keys over 384 bytes are not remembered: a decision on one is two round trips.
	Remember int
	// Dial connects to a server, by TLS for example; nil means a net.Dialer's DialContext. The network is "tcp", or "unix" if
	// the server's address has a slash.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Store is a [halt.Store] in Memcached, made by [New]. It is safe for concurrent use by any number of goroutines and processes.
// See the package's documentation for what it promises and what Memcached forgets.
type Store struct {
	store    *cas.Store
	register *register
}

// New returns a store on the servers, each "host:port" or the path of a Unix socket. It connects when it is used. Close ends
// it.
//
// Every process must be given the same servers, by the same names, in whatever order: a key belongs to one of them.
func New(servers []string, o *Options) (*Store, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if err := opts.complete(servers); err != nil {
		return nil, err
	}
	clock := cas.NewClock()
	r := newRegister(servers, &opts, clock.Now)
	s, err := cas.New(r, &cas.Options{
		Prefix: opts.Prefix, Timeout: opts.Timeout, Skew: opts.Skew, Remember: opts.Remember, Clock: clock.Now,
	})
	if err != nil {
		return nil, err
	}
	return &Store{store: s, register: r}, nil
}

// complete fills in the defaults, and returns an error that names all that is wrong, but for what package cas checks.
func (o *Options) complete(servers []string) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("halt/memcached: "+format, args...)) }
	if len(servers) == 0 {
		wrong("New needs at least one server")
	}
	seen := make(map[string]bool)
	for i, name := range servers { // which is not told: somebody may have put a password into it
		if !reachable(name) {
			wrong("server %d must be host:port, or the absolute path of a Unix socket", i+1)
		}
		if seen[name] {
			wrong("server %d is named twice", i+1)
		}
		seen[name] = true
	}
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if !legal(o.Prefix) || len(o.Prefix) > longestPrefix {
		wrong("Options.Prefix must hold no spaces or control characters, and %d bytes at most", longestPrefix)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	return errors.Join(errs...)
}

// reachable tells whether a server's name is one that can be dialled.
func reachable(name string) bool {
	if strings.Contains(name, "/") {
		return name[0] == '/'
	}
	host, port, err := net.SplitHostPort(name)
	if err != nil || host == "" || strings.ContainsAny(host, "@ ") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// Name returns "memcached", for telemetry.
func (s *Store) Name() string { return "memcached" }

// Take decides the charges of cs as one call: several of them one by one, as halt.TakeEach does.
func (s *Store) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	return s.store.Take(ctx, cs, ds)
}

// Reset forgets what key has used under p, its shadow's budget and blocks included.
func (s *Store) Reset(ctx context.Context, p halt.Policy, key string) error {
	return s.store.Reset(ctx, p, key)
}

// Close closes the connections. What is under way fails, and so does every later call.
func (s *Store) Close() error {
	for _, v := range s.register.servers {
		v.close()
	}
	return nil
}
