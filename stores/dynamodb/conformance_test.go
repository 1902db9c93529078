package haltdynamo

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
	"github.com/halt-dev/halt/core/cas/castest"
	"github.com/halt-dev/halt/core/storetest"
)

// The register by itself, against the suite of package castest.
func TestRegisterContract(t *testing.T) {
	handle := func(testing.TB) cas.Register {
		return &register{client: connect(Endpoint), table: Table, clock: cas.NewClock().Now}
	}
	castest.Run(t, castest.Harness{New: handle, Another: func(tb testing.TB, _ cas.Register) cas.Register { return handle(tb) }})
}

// The suite, in real time.
func TestStore(t *testing.T) {
	storetest.Run(t, newRig(t).harness())
}

// What of the suite needs a clock that the tests set, and has to do with items' lives. Items whose time is over stay, as they
// may for days on DynamoDB.
func TestClock(t *testing.T) {
	b := newRig(t)
	h := b.harness()
	var clock *storetest.Clock
	h.TTL = nil // by a clock that is not the test's
	h.New = func(tb testing.TB) halt.Store {
		switch name := strings.TrimPrefix(tb.Name(), "TestClock/"); name {
		case "ResetAfter", "ClockBack", "ClockAhead", "Trace/Clock":
		default:
			tb.Skip("it is part of TestStore, or tests the arithmetic, which is package cas's")
		}
		clock = storetest.NewClock(start)
		return b.open(tb, undated{b.client}, patient, clock.Now)
	}
	h.Advance = func(_ testing.TB, _ halt.Store, d time.Duration) { clock.Advance(d) }
	storetest.Run(t, h)
}

// start is when the clock of tests begins that make their own time: late enough that nothing has expired in the server's.
var start = time.Date(2060, time.March, 14, 15, 9, 26, 535897*1000, time.UTC)

// undated is a client whose answers have no Date.
type undated struct{ Client }

func (c undated) GetItem(ctx context.Context, in *dynamodb.GetItemInput, o ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	out, err := c.Client.GetItem(ctx, in, o...)
	if err == nil {
		out.ResultMetadata = middleware.Metadata{}
	}
	return out, err
}

func (c undated) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	out, err := c.Client.PutItem(ctx, in, o...)
	if err == nil {
		out.ResultMetadata = middleware.Metadata{}
	}
	return out, err
}

func (c undated) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, o ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	out, err := c.Client.DeleteItem(ctx, in, o...)
	if err == nil {
		out.ResultMetadata = middleware.Metadata{}
	}
	return out, err
}

func (c undated) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, o ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	out, err := c.Client.TransactWriteItems(ctx, in, o...)
	if err == nil {
		out.ResultMetadata = middleware.Metadata{}
	}
	return out, err
}

// rig is a client of the server of all tests, and the prefixes of the stores made by it.
type rig struct {
	client   *dynamodb.Client
	mu       sync.Mutex
	prefixes map[*Store]string
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	return &rig{client: connect(Endpoint), prefixes: map[*Store]string{}}
}

// open returns a store with an empty keyspace.
func (b *rig) open(tb testing.TB, c Client, o Options, clock func() halt.Instant) *Store {
	tb.Helper()
	opts := fresh(o)
	s, err := open(c, Table, &opts, clock)
	if err != nil {
		tb.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.prefixes[s] = opts.Prefix
	return s
}

func (b *rig) harness() storetest.Harness {
	return storetest.Harness{
		New: func(tb testing.TB) halt.Store {
			return b.open(tb, b.client, patient, cas.NewClock().Now)
		},
		Atomic:  true,
		Corrupt: b.damages(),
		TTL: func(tb testing.TB, s halt.Store, c halt.Charge) (time.Duration, bool) {
			item := b.item(tb, s, c)
			if item == nil {
				return 0, false
			}
			expires, err := strconv.ParseInt(item[ttlAttribute].(*types.AttributeValueMemberN).Value, 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return time.Until(time.Unix(expires, 0)), true
		},
	}
}

// key returns the primary key of the charge's item.
func (b *rig) key(s halt.Store, c halt.Charge) map[string]types.AttributeValue {
	b.mu.Lock()
	defer b.mu.Unlock()
	return keyOf(halt.StorageKey(b.prefixes[s.(*Store)], c))
}

func (b *rig) item(tb testing.TB, s halt.Store, c halt.Charge) map[string]types.AttributeValue {
	tb.Helper()
	out, err := b.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &Table, Key: b.key(s, c), ConsistentRead: aws.Bool(true)})
	if err != nil {
		tb.Fatal(err)
	}
	return out.Item
}

// damages are ways to spoil an item.
func (b *rig) damages() map[string]func(testing.TB, halt.Store, halt.Charge) {
	change := func(f func(item map[string]types.AttributeValue)) func(testing.TB, halt.Store, halt.Charge) {
		return func(tb testing.TB, s halt.Store, c halt.Charge) {
			item := b.item(tb, s, c)
			if item == nil {
				tb.Fatalf("there is no item to damage")
			}
			f(item)
			maps.Copy(item, b.key(s, c))
			if _, err := b.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &Table, Item: item}); err != nil {
				tb.Fatal(err)
			}
		}
	}
	set := func(v types.AttributeValue) func(testing.TB, halt.Store, halt.Charge) {
		return change(func(item map[string]types.AttributeValue) { item[stateAttribute] = v })
	}
	edit := func(f func(v []byte) []byte) func(testing.TB, halt.Store, halt.Charge) {
		return change(func(item map[string]types.AttributeValue) {
			v := item[stateAttribute].(*types.AttributeValueMemberB).Value
			item[stateAttribute] = &types.AttributeValueMemberB{Value: f(v)}
		})
	}
	return map[string]func(testing.TB, halt.Store, halt.Charge){
		"no value": change(func(item map[string]types.AttributeValue) { delete(item, stateAttribute) }),
		"somebody else's": change(func(item map[string]types.AttributeValue) {
			clear(item)
			item["user"] = &types.AttributeValueMemberS{Value: "alice"}
		}),
		"empty":    set(&types.AttributeValueMemberB{Value: []byte{}}),
		"string":   set(&types.AttributeValueMemberS{Value: "hello, world"}),
		"text":     set(&types.AttributeValueMemberB{Value: []byte("hello, world: this is somebody else's")}),
		"cut off":  edit(func(v []byte) []byte { return v[:len(v)-1] }),
		"too long": edit(func(v []byte) []byte { return append(v, 0) }),
		"other":    edit(func(v []byte) []byte { return append([]byte{v[0] ^ 0xff}, v[1:]...) }),
	}
}
