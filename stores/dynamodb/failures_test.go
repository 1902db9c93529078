package haltdynamo

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// A call for which DynamoDB has no capacity is an error that says so, whatever DynamoDB calls it, and spends nothing.
func TestThrottled(t *testing.T) {
	const reasons = `,"CancellationReasons":[{"Code":"None"},{"Code":"ThrottlingError","Message":"slower"}]`
	s, f := faulty(t, patient)
	p := lasting(100)
	first := take(t, s, p.Charge("k", 50))
	for _, c := range []struct{ operation, code, rest string }{
		{"PutItem", "ProvisionedThroughputExceededException", ""},
		{"PutItem", "ThrottlingException", ""},
		{"PutItem", "RequestLimitExceeded", ""},
		{"GetItem", "ProvisionedThroughputExceededException", ""},
		{"TransactWriteItems", "ProvisionedThroughputExceededException", ""},
		{"TransactWriteItems", "TransactionCanceledException", reasons},
	} {
		for _, mode := range []halt.Mode{halt.Take, halt.Debit, halt.Credit} {
			f.use(only(c.operation, 1000, answers(400, c.code, c.rest)))
			cs := []halt.Charge{by(mode, p, first)}
			switch c.operation {
			case "TransactWriteItems":
				q := lasting(100)
				q.Name = "second"
				cs = append(cs, q.Charge("k", 1))
			case "GetItem": // which a Peek is
				cs[0] = p.Charge("k", 10)
				cs[0].Mode = halt.Peek
			}
			err := s.Take(ctx, cs, make([]halt.Decision, len(cs)))
			if !failsAs(err, halt.ErrStore, ErrThrottled) || halt.ErrorKind(err) != "store" {
				t.Errorf("%s, %s, a %s: %v", c.operation, c.code, mode, err)
			}
			var api smithy.APIError
			if !errors.As(err, &api) || api.ErrorCode() != c.code {
				t.Errorf("%s, %s, a %s: the cause is lost: %v", c.operation, c.code, mode, err)
			}
			var provisioned *types.ProvisionedThroughputExceededException
			if errors.As(err, &provisioned) != (c.code == "ProvisionedThroughputExceededException") {
				t.Errorf("%s, %s, a %s: not of the SDK's type: %v", c.operation, c.code, mode, err)
			}
			want := 3 // as the client's retryer has it
			if c.code == "TransactionCanceledException" {
				want = 1
			}
			if sent := f.count(c.operation); sent != want {
				t.Errorf("%s, %s, a %s: sent %d times, want %d", c.operation, c.code, mode, sent, want)
			}
			f.use(nil)
			if d := take(t, s, p.Charge("k", 0)); d.Remaining != 50 {
				t.Errorf("%s, %s, a %s: %d are left of 50", c.operation, c.code, mode, d.Remaining)
			}
		}
	}
	// Shorter than the client's patience: nobody notices.
	f.use(only("PutItem", 2, answers(400, "ThrottlingException", "")))
	if d, err := storetest.TakeOne(ctx, s, p.Charge("k", 1)); err != nil || d.Remaining != 49 {
		t.Errorf("throttled twice: %+v, %v", d, err)
	}
}

// The SDK's budget for repetitions is the client's. A repetition that could not come before the timeout is not waited for, and
// costs nothing of it.
func TestRetryBudget(t *testing.T) {
	budget := ratelimit.NewTokenRateLimit(10) // for two repetitions
	throttle := only("PutItem", 1000, answers(400, "ThrottlingException", ""))
	s, f := faulty(t, patient, func(o *dynamodb.Options) { o.Retryer = quickRetryer(budget) })
	p := lasting(100)
	sent := 0
	for range 5 {
		f.use(throttle)
		if _, err := storetest.TakeOne(ctx, s, p.Charge("k", 1)); !failsAs(err, ErrThrottled) {
			t.Errorf("%v", err)
		}
		sent += f.count("PutItem")
	}
	if sent != 5+2 {
		t.Errorf("5 calls were sent %d times with a budget of 2 repetitions", sent)
	}

	// The same with delays: those of the SDK.
	budget = ratelimit.NewTokenRateLimit(10)
	slow, f := faulty(t, Options{Timeout: time.Minute}, func(o *dynamodb.Options) {
		o.Retryer = delayed(budget, time.Hour)
	})
	for range 5 {
		f.use(throttle)
		if _, err := storetest.TakeOne(ctx, slow, p.Charge("k", 1)); !failsAs(err, ErrThrottled) || errors.Is(err, halt.ErrDeadline) {
			t.Errorf("%v", err)
		}
		if n := f.count("PutItem"); n != 1 {
			t.Errorf("sent %d times", n)
		}
	}
	if left := budget.Remaining(); left != 10 {
		t.Errorf("%d are left of the budget of 10", left)
	}
}

// What DynamoDB refuses for other reasons is an error at once, with its cause.
func TestRefused(t *testing.T) {
	s, f := faulty(t, patient)
	p := lasting(100)
	for code, status := range map[string]int{"AccessDeniedException": 400, "ValidationException": 400, "ItemCollectionSizeLimitExceededException": 400, "UnrecognizedClientException": 400} {
		f.use(only("PutItem", 1000, answers(status, code, "")))
		_, err := storetest.TakeOne(ctx, s, p.Charge("k", 1))
		var api smithy.APIError
		if !failsAs(err, halt.ErrStore) || errors.Is(err, ErrThrottled) || !errors.As(err, &api) || api.ErrorCode() != code {
			t.Errorf("%s: %v", code, err)
		}
		if n := f.count("PutItem"); n != 1 {
			t.Errorf("%s: sent %d times", code, n)
		}
	}
	missing, err := New(connect(Endpoint), "no-such-table", &patient)
	if err != nil {
		t.Fatal(err)
	}
	_, err = storetest.TakeOne(ctx, missing, p.Charge("secret-key", 1))
	var notFound *types.ResourceNotFoundException
	if !failsAs(err, halt.ErrStore) || !errors.As(err, &notFound) {
		t.Errorf("without a table: %v", err)
	}
}

// With the server down, or failing, calls are errors of halt's kinds that tell no key, and in time.
func TestDown(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	p := lasting(100)
	nobody, err := New(connect("http://"+closed.Addr().String(), func(o *dynamodb.Options) { o.Retryer = quickRetryer(ratelimit.None) }), Table, &patient)
	if err != nil {
		t.Fatal(err)
	}
	s, f := faulty(t, patient)
	take(t, s, p.Charge("secret-key", 1))
	for name, do := range map[string]fault{"refused": nil, "500": answers(500, "InternalServerError", ""), "cut": loses(nil)} {
		f.use(do)
		at := s
		if name == "refused" {
			at = nobody
		}
		for _, cs := range [][]halt.Charge{{p.Charge("secret-key", 1)}, {p.Charge("secret-key", 1), p.Charge("other", 1)}} {
			err := at.Take(ctx, cs, make([]halt.Decision, len(cs)))
			if !failsAs(err, halt.ErrStore) || strings.Contains(err.Error(), "secret-key") {
				t.Errorf("%s: %v", name, err)
			}
			if err := at.Reset(ctx, p, "secret-key"); !failsAs(err, halt.ErrStore) || strings.Contains(err.Error(), "secret-key") {
				t.Errorf("%s: a Reset: %v", name, err)
			}
		}
	}
	f.use(nil)
	if d := take(t, s, p.Charge("secret-key", 0)); d.Remaining >= 100 {
		t.Errorf("%+v", d)
	}
}

// A server that does not answer costs a call its timeout and no more; the caller's context can end it sooner.
func TestTimeout(t *testing.T) {
	s, f := faulty(t, Options{Timeout: 500 * time.Millisecond})
	p := lasting(100)
	f.use(hangs)
	calls := map[string]func(context.Context) error{
		"a Take": func(ctx context.Context) error { _, err := storetest.TakeOne(ctx, s, p.Charge("k", 1)); return err },
		"a call of two": func(ctx context.Context) error {
			return s.Take(ctx, []halt.Charge{p.Charge("k", 1), p.Charge("l", 1)}, make([]halt.Decision, 2))
		},
		"a Reset": func(ctx context.Context) error { return s.Reset(ctx, p, "k") },
	}
	// The bound is 20 ms above the timeout, which a machine that is busy with other tests can't keep.
	for name, call := range calls {
		begun := time.Now()
		if err := call(ctx); !failsAs(err, halt.ErrDeadline) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		if err := call(short); !failsAs(err, halt.ErrDeadline, context.DeadlineExceeded) {
			t.Errorf("%s with a deadline: %v", name, err)
		}
		cancel()
		left, cancel := context.WithCancel(ctx)
		cancel()
		if err := call(left); !failsAs(err, context.Canceled) {
			t.Errorf("%s of a caller who left: %v", name, err)
		}
	}
	f.use(nil)
	eventually(t, "it works again", func() bool { return calls["a Take"](ctx) == nil })
}

// load takes from s in some goroutines until stop is called, which returns how many were admitted and the errors by kind.
func load(s *Store, c halt.Charge) (stop func() (admitted int64, failed map[string]int)) {
	var wg sync.WaitGroup
	var over atomic.Bool
	var admitted atomic.Int64
	var mu sync.Mutex
	failed := map[string]int{}
	for range 8 {
		wg.Go(func() {
			for !over.Load() {
				d, err := storetest.TakeOne(ctx, s, c)
				switch {
				case err != nil:
					mu.Lock()
					failed[halt.ErrorKind(err)]++
					mu.Unlock()
				case d.Allowed:
					admitted.Add(1)
				}
			}
		})
	}
	return func() (int64, map[string]int) {
		over.Store(true)
		wg.Wait()
		return admitted.Load(), failed
	}
}

// A server that stands still and is then killed, under load: errors say so, and once it is back with an empty table the limit
// is admitted once more, and no more.
func TestServerKilled(t *testing.T) {
	server := testserver.DynamoDB(t)
	client := connect("http://" + server.Addr())
	table := "restarted"
	if err := CreateTable(ctx, client, table); err != nil {
		t.Fatal(err)
	}
	s, err := New(client, table, &Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	p := lasting(100)
	stop := load(s, p.Charge("k", 1))
	spent := func() bool {
		d, err := storetest.TakeOne(ctx, s, p.Charge("k", 0))
		return err == nil && d.Remaining == 0
	}
	eventually(t, "the limit is reached", spent)
	server.Pause()
	if _, err := storetest.TakeOne(ctx, s, p.Charge("k", 1)); !failsAs(err, halt.ErrDeadline) {
		t.Errorf("a server that stands still: %v", err)
	}
	server.Resume()
	eventually(t, "it works again", spent)
	server.Kill()
	if _, err := storetest.TakeOne(ctx, s, p.Charge("k", 1)); !failsAs(err, halt.ErrStore) && !failsAs(err, halt.ErrDeadline) {
		t.Errorf("with the server down: %v", err)
	}
	server.Restart()
	if err := CreateTable(ctx, client, table); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the limit is reached again", spent)
	if admitted, _ := stop(); admitted > 2*p.Limit {
		t.Errorf("%d were admitted over two lives of the server, of %d each", admitted, p.Limit)
	}
}

// No goroutine stays behind once nobody calls.
func TestNoGoroutineStays(t *testing.T) {
	s, f := faulty(t, Options{Timeout: 50 * time.Millisecond})
	before := runtime.NumGoroutine()
	stop := load(s, lasting(1<<40).Charge("k", 1))
	f.use(hangs)
	eventually(t, "calls time out", func() bool {
		_, err := storetest.TakeOne(ctx, s, lasting(1).Charge("l", 1))
		return errors.Is(err, halt.ErrDeadline)
	})
	f.use(nil)
	stop()
	closeIdle(f)
	eventually(t, "they are gone", func() bool { return runtime.NumGoroutine() <= before })
}
