// Package todo is the todo example of gqlgen's documentation, written anew: a schema and a server that know nothing of
// rate limits.
package todo

//go:generate go run github.com/99designs/gqlgen@v0.17.98 generate

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
)

// Server keeps todos in memory.
type Server struct {
	mu    sync.Mutex
	todos []*Todo
}

// Query returns the resolvers of queries.
func (s *Server) Query() QueryResolver { return query{s} }

// Mutation returns the resolvers of mutations.
func (s *Server) Mutation() MutationResolver { return mutation{s} }

type (
	query    struct{ *Server }
	mutation struct{ *Server }
)

func (s *Server) find(id string) *Todo {
	for _, t := range s.todos {
		if t.ID == id {
			return t
		}
	}
	return nil
}

func (q query) Todo(_ context.Context, id string) (*Todo, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.find(id), nil
}

func (q query) LastTodo(context.Context) (*Todo, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.todos) == 0 {
		return nil, nil
	}
	return q.todos[len(q.todos)-1], nil
}

func (q query) Todos(context.Context) ([]*Todo, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.todos), nil
}

func (m mutation) CreateTodo(_ context.Context, in TodoInput) (*Todo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &Todo{ID: strconv.Itoa(len(m.todos) + 1), Text: in.Text, Done: in.Done != nil && *in.Done}
	m.todos = append(m.todos, t)
	return t, nil
}

func (m mutation) SetDone(_ context.Context, id string, done bool) (*Todo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.find(id)
	if t == nil {
		return nil, errors.New("no such todo")
	}
	t.Done = done
	return t, nil
}
