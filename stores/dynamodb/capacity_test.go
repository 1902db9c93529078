package haltdynamo

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// metered is a client that adds up what DynamoDB says it charges for. Of transactions it counts the parts instead, two units each,
// as AWS documents it: DynamoDB Local says four of every transaction.
type metered struct {
	Client
	mu          sync.Mutex
	read, write float64
}

func (m *metered) add(read, write float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read, m.write = m.read+read, m.write+write
}

// since returns the units since the last call.
func (m *metered) since() (read, write float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	read, write = m.read, m.write
	m.read, m.write = 0, 0
	return read, write
}

func (m *metered) GetItem(ctx context.Context, in *dynamodb.GetItemInput, o ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	out, err := m.Client.GetItem(ctx, in, o...)
	if err == nil {
		m.add(*out.ConsumedCapacity.CapacityUnits, 0)
	}
	return out, err
}

func (m *metered) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	out, err := m.Client.PutItem(ctx, in, o...)
	if err == nil {
		m.add(0, *out.ConsumedCapacity.CapacityUnits)
	}
	return out, err
}

func (m *metered) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, o ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	m.add(0, float64(2*len(in.TransactItems)))
	return m.Client.TransactWriteItems(ctx, in, o...)
}

// What decisions cost, as the documentation has it.
func TestCapacity(t *testing.T) {
	m := &metered{Client: connect(Endpoint)}
	s := newStore(t, m, patient)
	p := halt.Policy{Name: "p", Algorithm: halt.SlidingWindow, Limit: 8, Window: lasting(1).Window, Precision: 60}
	q := lasting(8)
	take(t, s, p.Charge("the first one asks what time it is", 1))
	m.since()
	long := strings.Repeat("k", 10_000)
	for _, c := range []struct {
		name        string
		cs          []halt.Charge
		read, write float64
	}{
		{"a key that nobody has used", []halt.Charge{p.Charge("k", 1)}, 0, 1},
		{"the same once more", []halt.Charge{p.Charge("k", 1)}, 0, 1},
		{"a Peek", []halt.Charge{p.Charge("k", 0)}, 1, 0},
		{"a refusal", []halt.Charge{p.Charge("k", 7)}, 1, 0},
		{"a long key", []halt.Charge{p.Charge(long, 7)}, 0, 1},
		{"two charges", []halt.Charge{p.Charge("k", 1), q.Charge("k", 1)}, 0, 4},
		{"three charges", []halt.Charge{p.Charge("k", 1), q.Charge("k", 1), q.Charge("l", 1)}, 0, 6},
		{"a refusal of two", []halt.Charge{p.Charge("k", 1), q.Charge("k", 8)}, 2, 0},
	} {
		if err := s.Take(ctx, c.cs, make([]halt.Decision, len(c.cs))); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		read, write := m.since()
		t.Logf("%s: %g read units, %g write units", c.name, read, write)
		if read != c.read || write != c.write {
			t.Errorf("%s cost %g read and %g write units, want %g and %g", c.name, read, write, c.read, c.write)
		}
	}
	// Many at the same time share writes.
	const callers, each = 64, 10
	big := lasting(1 << 40)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				if _, err := storetest.TakeOne(ctx, s, big.Charge("hot", 1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	read, write := m.since()
	t.Logf("%d decisions of %d callers on one key: %g read units, %g write units", callers*each, callers, read, write)
	if read != 0 || write > callers*each/2 {
		t.Errorf("%d decisions of %d callers on one key cost %g read and %g write units", callers*each, callers, read, write)
	}
}
