package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// Main is what a TestMain does that starts servers for all tests of its
// package, or for examples, which have no test to start one with:
//
//	func TestMain(m *testing.M) {
//		os.Exit(testserver.Main(m, func(tb testing.TB) {
//			ExampleAddr = testserver.Redis(tb).Addr()
//		}))
//	}
//
// It runs before, then the tests, and ends what before has started. It
// returns the code for the program to exit with.
func Main(m *testing.M, before func(tb testing.TB)) int {
	code := 1
	err := Outside(func(tb testing.TB) {
		before(tb)
		code = m.Run()
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Outside runs f with a testing.TB that is of no test, in a goroutine of its
// own: for programs, such as benchmarks, that use what is made for tests. When
// f has returned, or ended by Fatal, what it gave to Cleanup runs, the last
// first. The error tells what was reported by Error and Fatal.
//
// Of the TB's methods Cleanup, Context, Error, Errorf, Failed, Fatal, Fatalf,
// Helper, Log, Logf, Name and TempDir work. It prints what is logged.
func Outside(f func(tb testing.TB)) error {
	o := &outside{}
	var cancel context.CancelFunc
	o.ctx, cancel = context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer o.end()
		defer cancel()
		f(o)
	}()
	<-done
	return errors.Join(o.errs...)
}

// outside is what servers need of a test.
type outside struct {
	testing.TB // of which nothing else is called
	ctx        context.Context

	mu       sync.Mutex
	cleanups []func()
	errs     []error
}

func (*outside) Helper() {}

func (*outside) Name() string { return "outside of tests" }

func (o *outside) Context() context.Context { return o.ctx }

func (o *outside) Cleanup(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cleanups = append(o.cleanups, f)
}

func (*outside) Log(args ...any) { fmt.Fprintln(os.Stderr, args...) }

func (*outside) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (o *outside) Failed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.errs) > 0
}

func (o *outside) Error(args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.errs = append(o.errs, errors.New(fmt.Sprint(args...)))
}

func (o *outside) Errorf(format string, args ...any) { o.Error(fmt.Sprintf(format, args...)) }

func (o *outside) Fatal(args ...any) {
	o.Error(args...)
	runtime.Goexit()
}

func (o *outside) Fatalf(format string, args ...any) { o.Fatal(fmt.Sprintf(format, args...)) }

func (o *outside) TempDir() string {
	dir, err := os.MkdirTemp("", "halt-*")
	if err != nil {
		o.Fatal(err)
	}
	o.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			o.Error(err)
		}
	})
	return dir
}

// end runs the clean-ups, each even if one before it ends by Fatal.
func (o *outside) end() {
	o.mu.Lock()
	cleanups := o.cleanups
	o.cleanups = nil
	o.mu.Unlock()
	for _, f := range slices.Backward(cleanups) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			f()
		}()
		<-done
	}
}
