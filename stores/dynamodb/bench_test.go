package haltdynamo

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	halt "github.com/halt-dev/halt/core"
)

// Decisions of 64 goroutines on one hot key and on ten thousand keys, beside the cheapest atomic write through the same client:
// an UpdateItem that adds to a number. They take turns, a thousand calls at a time, so that what else the machine does strikes both.
// The keys were used before.
//
//	go test -run '^$' -bench Concurrent -benchtime 10000x
func BenchmarkConcurrent(b *testing.B) {
	client := connect(Endpoint)
	for _, keys := range []int{1, 10_000} {
		names := make([]string, keys)
		for i := range names {
			names[i] = "user:" + strconv.Itoa(10_000_000+i)
		}
		l := halt.New(newStore(b, client, patient), nil)
		p := halt.Policy{Name: "api", Limit: 1_000_000_000, Window: time.Hour}
		prefix := fresh(patient).Prefix
		does := map[string]func(name string) error{
			"halt": func(name string) error {
				_, err := l.Allow(ctx, p, name)
				return err
			},
			"add": func(name string) error {
				_, err := client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
					TableName: &Table, Key: keyOf(prefix + name), UpdateExpression: aws.String("ADD n :one"),
					ExpressionAttributeValues: map[string]types.AttributeValue{":one": &types.AttributeValueMemberN{Value: "1"}},
					ReturnValues:              types.ReturnValueUpdatedNew,
				})
				return err
			},
		}
		for _, do := range does { // not to measure the making of items
			crowd(b, 64, keys, func(i int) error { return do(names[i]) })
		}
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			took := map[string][]time.Duration{}
			spent := map[string]time.Duration{}
			const slice = 1000
			for from := 0; from < b.N; from += slice {
				for what, do := range does {
					n := min(slice, b.N-from)
					begun := time.Now()
					took[what] = append(took[what], crowd(b, 64, n, func(i int) error { return do(names[(from+i)*7919%keys]) })...)
					spent[what] += time.Since(begun)
				}
			}
			for what, all := range took {
				slices.Sort(all)
				b.ReportMetric(float64(b.N)/spent[what].Seconds(), what+"/s")
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, what+"-p99-ms")
			}
			b.ReportMetric(spent["add"].Seconds()/spent["halt"].Seconds(), "halt/add")
			b.ReportMetric(0, "ns/op") // of both together
		})
	}
}

// crowd calls do for 0 to n-1 in so many goroutines, and returns how long each call took.
func crowd(b *testing.B, callers, n int, do func(i int) error) []time.Duration {
	b.Helper()
	var next atomic.Int64
	took := make([]time.Duration, n)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				begun := time.Now()
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(begun)
			}
		})
	}
	wg.Wait()
	return took
}
