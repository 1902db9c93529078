// Package testapi is a GraphQL server for tests: a schema with an interface, a union, lists of lists, mutations,
// subscriptions and limited fields, all of whose resolvers count that they run.
package testapi

//go:generate go run github.com/99designs/gqlgen@v0.17.98 generate

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// API resolves the schema's fields: always the same values.
type API struct {
	// Events are what subscriptions yield; nil: 1, 2 and so on, as many as they ask for.
	Events chan int
	// Enter, if set, is called as a login is resolved.
	Enter func()

	calls sync.Map // the field's name -> *atomic.Int64
}

// New returns the executable schema of a, with the directive's implementation and the complexity functions.
func New(a *API, directives DirectiveRoot, complexity ComplexityRoot) graphql.ExecutableSchema {
	return NewExecutableSchema(Config{Resolvers: a, Directives: directives, Complexity: complexity})
}

// Calls returns how often the resolver of a field such as "Mutation.login" has run.
func (a *API) Calls(field string) int64 {
	n, ok := a.calls.Load(field)
	if !ok {
		return 0
	}
	return n.(*atomic.Int64).Load()
}

// Total returns how often resolvers have run.
func (a *API) Total() (n int64) {
	a.calls.Range(func(_, v any) bool {
		n += v.(*atomic.Int64).Load()
		return true
	})
	return n
}

func (a *API) called(field string) {
	n, ok := a.calls.Load(field)
	if !ok {
		n, _ = a.calls.LoadOrStore(field, new(atomic.Int64))
	}
	n.(*atomic.Int64).Add(1)
}

// The resolvers of the types.
type (
	query        struct{ *API }
	mutation     struct{ *API }
	subscription struct{ *API }
	user         struct{ *API }
	post         struct{ *API }
)

// Query returns the resolvers of queries.
func (a *API) Query() QueryResolver { return query{a} }

// Mutation returns the resolvers of mutations.
func (a *API) Mutation() MutationResolver { return mutation{a} }

// Subscription returns the resolvers of subscriptions.
func (a *API) Subscription() SubscriptionResolver { return subscription{a} }

// User returns the resolvers of users.
func (a *API) User() UserResolver { return user{a} }

// Post returns the resolvers of posts.
func (a *API) Post() PostResolver { return post{a} }

func newUser(id string) *User { return &User{ID: id, Name: "user " + id} }

func newPost(id string) *Post { return &Post{ID: id, Title: "post " + id} }

func users(first *int) []*User {
	n := 10
	if first != nil {
		n = max(0, min(*first, 1000))
	}
	us := make([]*User, n)
	for i := range us {
		us[i] = newUser(strconv.Itoa(i))
	}
	return us
}

func (q query) Need(context.Context) (int, error) {
	q.called("Query.need")
	return 1, nil
}

func (q query) User(_ context.Context, id string) (*User, error) {
	q.called("Query.user")
	return newUser(id), nil
}

func (q query) Users(_ context.Context, first *int) ([]*User, error) {
	q.called("Query.users")
	return users(first), nil
}

func (q query) Node(_ context.Context, id string) (Node, error) {
	q.called("Query.node")
	if id == "post" {
		return newPost(id), nil
	}
	return newUser(id), nil
}

func (q query) Search(context.Context, string) ([]Hit, error) {
	q.called("Query.search")
	return []Hit{newUser("1"), newPost("2")}, nil
}

func (q query) Report(context.Context) (*string, error) {
	q.called("Query.report")
	return new("report"), nil
}

func (q query) Vital(context.Context) (string, error) {
	q.called("Query.vital")
	return "vital", nil
}

func (q query) Boom(context.Context) (*string, error) {
	q.called("Query.boom")
	panic("boom") //nolint:forbidigo // what a resolver may do
}

func (q query) Find(_ context.Context, in *Filter, id *string, _ any) (string, error) {
	q.called("Query.find")
	b, err := json.Marshal(map[string]any{"in": in, "id": id})
	return string(b), err
}

// WrongPassword is the code of a login's error, whose password is not "correct".
const WrongPassword = "WRONG_PASSWORD"

func (m mutation) Login(_ context.Context, email, password string) (*string, error) {
	m.called("Mutation.login")
	if m.Enter != nil {
		m.Enter()
	}
	if password != "correct" {
		return nil, &gqlerror.Error{Message: "wrong password", Extensions: map[string]any{"code": WrongPassword}}
	}
	return &email, nil
}

func (m mutation) SignIn(_ context.Context, input Credentials) (*string, error) {
	m.called("Mutation.signIn")
	return &input.Email, nil
}

func (s subscription) Ticks(ctx context.Context, count int) (<-chan int, error) {
	s.called("Subscription.ticks")
	return s.stream(ctx, count)
}

func (s subscription) News(ctx context.Context) (<-chan int, error) {
	s.called("Subscription.news")
	return s.stream(ctx, 3)
}

func (s subscription) stream(ctx context.Context, count int) (<-chan int, error) {
	if count < 0 {
		return nil, errors.New("count must be 0 or more")
	}
	if s.Events != nil {
		return s.Events, nil
	}
	c := make(chan int)
	go func() {
		defer close(c)
		for i := range count {
			select {
			case c <- i + 1:
			case <-ctx.Done():
				return
			}
		}
	}()
	return c, nil
}

func (u user) Friends(_ context.Context, _ *User, first *int) ([]*User, error) {
	u.called("User.friends")
	return users(first), nil
}

func (u user) Posts(context.Context, *User) ([]*Post, error) {
	u.called("User.posts")
	return []*Post{newPost("1"), newPost("2")}, nil
}

func (u user) Secret(context.Context, *User) (*string, error) {
	u.called("User.secret")
	return new("secret"), nil
}

func (p post) Author(context.Context, *Post) (*User, error) {
	p.called("Post.author")
	return newUser("author"), nil
}

func (p post) Secret(context.Context, *Post) (*string, error) {
	p.called("Post.secret")
	return new("secret"), nil
}
