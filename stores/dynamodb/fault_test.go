package haltdynamo

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/halt-dev/halt/core/storetest"
)

// faults stand between the SDK and the network. They see every request that the SDK sends, also those that it repeats by
// itself.
type faults struct {
	next dynamodb.HTTPClient

	mu    sync.Mutex
	sent  map[string]int // by operation
	fault fault
}

// fault is what becomes of a request to an operation: send carries it out. nil: that.
type fault func(operation string, r *http.Request, send func() (*http.Response, error)) (*http.Response, error)

// use sets the fault, and forgets what was sent.
func (f *faults) use(to fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.sent = to, map[string]int{}
}

// count returns how many requests to the operation were sent.
func (f *faults) count(operation string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent[operation]
}

func (f *faults) Do(r *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	f.mu.Lock()
	f.sent[operation]++
	do := f.fault
	f.mu.Unlock()
	send := func() (*http.Response, error) { return f.next.Do(r) }
	if do == nil {
		return send()
	}
	return do(operation, r, send)
}

// newFaults returns a client of the server of all tests and what makes it fail. It repeats at once what it repeats.
func newFaults(options ...func(*dynamodb.Options)) (*dynamodb.Client, *faults) {
	f := new(faults)
	f.use(nil)
	all := append([]func(*dynamodb.Options){func(o *dynamodb.Options) {
		f.next, o.HTTPClient = o.HTTPClient, f
		o.Retryer = quickRetryer(ratelimit.None)
	}}, options...)
	return connect(Endpoint, all...), f
}

// quickRetryer is the SDK's, but does not wait.
func quickRetryer(budget retry.RateLimiter) aws.Retryer { return delayed(budget, 0) }

// only limits a fault to an operation, and to so many times.
func only(operation string, times int, do fault) fault {
	var mu sync.Mutex
	return func(o string, r *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		mu.Lock()
		hit := o == operation && times > 0
		if hit {
			times--
		}
		mu.Unlock()
		if hit {
			return do(o, r, send)
		}
		return send()
	}
}

// answers is a fault: DynamoDB says no.
func answers(status int, code, rest string) fault {
	return func(_ string, r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		body := `{"__type":"com.amazonaws.dynamodb.v20120810#` + code + `","message":"as the test wants it"` + rest + `}`
		return &http.Response{
			StatusCode: status, Status: http.StatusText(status), ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amzn-Requestid": {"test"}, "X-Amzn-Query-Error": {code + ";Sender"}},
			Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}, nil
	}
}

// loses is a fault: DynamoDB does what it was asked to, and the answer is lost.
func loses(meanwhile func()) fault {
	return func(_ string, _ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		r, err := send()
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, r.Body) // nobody hears it
		_ = r.Body.Close()
		if meanwhile != nil {
			meanwhile()
		}
		return nil, io.ErrUnexpectedEOF
	}
}

// hangs is a fault: no answer, until the caller has had enough.
func hangs(_ string, r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// faulty returns a store with an empty keyspace whose client has faults; it has asked for the time already.
func faulty(tb testing.TB, o Options, options ...func(*dynamodb.Options)) (*Store, *faults) {
	tb.Helper()
	client, f := newFaults(options...)
	s := newStore(tb, client, o)
	eventually(tb, "it knows the time", func() bool {
		_, err := storetest.TakeOne(ctx, s, lasting(1).Charge("another", 1))
		return err == nil
	})
	f.use(nil)
	return s, f
}

// failsAs tells whether an error matches all of the kinds.
func failsAs(err error, kinds ...error) bool {
	for _, kind := range kinds {
		if !errors.Is(err, kind) {
			return false
		}
	}
	return err != nil
}

// delayed is the SDK's retryer with a delay of its own.
func delayed(budget retry.RateLimiter, delay time.Duration) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return delay, nil })
		o.RateLimiter = budget
	})
}

// closeIdle closes the connections that nobody uses.
func closeIdle(f *faults) {
	f.next.(*http.Client).CloseIdleConnections()
}
