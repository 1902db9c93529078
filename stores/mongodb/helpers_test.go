package haltmongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
)

// monitor passes on every command that is sent.
func monitor(f func(command bson.Raw)) *event.CommandMonitor {
	return &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		f(append(bson.Raw(nil), e.Command...))
	}}
}
