package graphql

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"
)

// shelf is how many books there are.
const shelf = 1000

// shop resolves all fields.
type shop struct {
	sold atomic.Int64

	mu          sync.Mutex
	subscribers map[chan *Book]bool
}

func newShop() *shop { return &shop{subscribers: make(map[chan *Book]bool)} }

// Query, Mutation, Subscription and Book return the resolvers of the types.
func (s *shop) Query() QueryResolver               { return query{s} }
func (s *shop) Mutation() MutationResolver         { return mutation{s} }
func (s *shop) Subscription() SubscriptionResolver { return subscription{s} }
func (s *shop) Book() BookResolver                 { return book{} }

type (
	query        struct{ *shop }
	mutation     struct{ *shop }
	subscription struct{ *shop }
	book         struct{}
)

// find returns the book of a number, or nil.
func find(id string) *Book {
	n, err := strconv.Atoi(id)
	if err != nil || n < 0 || n >= shelf {
		return nil
	}
	return &Book{ID: id, Title: fmt.Sprintf("Limits, volume %d", n)}
}

// from returns n books from one on; none if n is null.
func from(at int, n *int) []*Book {
	bs := []*Book{}
	if n == nil {
		return bs
	}
	for i := range max(0, min(*n, shelf)) {
		bs = append(bs, find(strconv.Itoa((at+i)%shelf)))
	}
	return bs
}

func (query) Book(_ context.Context, id string) (*Book, error) { return find(id), nil }

func (query) Books(_ context.Context, first *int) ([]*Book, error) { return from(0, first), nil }

func (q query) Statistics(context.Context) (*Statistics, error) {
	return &Statistics{Books: shelf, Sold: int(q.sold.Load())}, nil
}

func (book) Similar(_ context.Context, b *Book, first *int) ([]*Book, error) {
	n, err := strconv.Atoi(b.ID)
	return from(n+1, first), err
}

func (mutation) Login(_ context.Context, account, password string) (*string, error) {
	if password != "correct" {
		return nil, &gqlerror.Error{Message: "wrong password", Extensions: map[string]any{"code": "WRONG_PASSWORD"}}
	}
	return &account, nil
}

func (m mutation) Sell(_ context.Context, id string) (*Book, error) {
	b := find(id)
	if b == nil {
		return nil, nil
	}
	m.sold.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.subscribers {
		select {
		case c <- b:
		default: // who doesn't keep up misses some
		}
	}
	return b, nil
}

func (subscription) Clock(ctx context.Context) (<-chan int, error) {
	c := make(chan int)
	go func() {
		defer close(c)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			select {
			case c <- n:
			case <-ctx.Done():
				return
			}
		}
	}()
	return c, nil
}

func (s subscription) Sold(ctx context.Context) (<-chan *Book, error) {
	c := make(chan *Book, 10)
	s.mu.Lock()
	s.subscribers[c] = true
	s.mu.Unlock()
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscribers, c)
		close(c)
	})
	return c, nil
}
