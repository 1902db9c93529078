package haltredis

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
)

// errCorrupt is what a call gets that meets a value which is not Halt's. It names no key.
var errCorrupt error = &halt.StoreError{
	Kind: halt.ErrCorrupt, Cause: errors.New("halt/redis: a key holds a value of another type or shape; it was left as it is"),
}

// errWrite is what a call gets if Redis wrote other keys of its batch but not this one.
var errWrite error = &halt.StoreError{Kind: halt.ErrStore, Cause: errors.New("halt/redis: Redis could not write a key")}

// errClock is what a call gets on calendar periods if the clocks of this process and of Redis are whole periods apart, and
// stay so.
var errClock error = &halt.StoreError{Kind: halt.ErrStore, Cause: errors.New("halt/redis: the clock of Redis is beyond the calendar's neighbouring periods")}

// errReply is what the calls of a batch get whose answer makes no sense.
func errReply(what string) error {
	return &halt.StoreError{Kind: halt.ErrStore, Cause: errors.New("halt/redis: the script's answer " + what)}
}

// typed returns an error of the client as one of halt's kinds. A caller who left is no failure.
func typed(err error) error {
	var e *halt.StoreError
	var timeout net.Error
	switch {
	case err == nil, errors.As(err, &e), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout),
		errors.As(err, &timeout) && timeout.Timeout():
		return &halt.StoreError{Kind: halt.ErrDeadline, Cause: err}
	}
	return &halt.StoreError{Kind: halt.ErrStore, Cause: err}
}

// outcome is what became of a script.
type outcome int

const (
	ran       outcome = iota
	failed            // it did not run, or changed nothing, and nor would it if it were sent again
	late              // the time is up, and it may have run
	unknown           // it may have run
	unheard           // it did not run, or changed nothing, and may run if it is sent again
	elsewhere         // so it is, and its keys are at another server or about to be
	unloaded          // the server does not know the script
)

// The words that begin the error replies after which a script can be sent again: it did not run, or failed at its first write.
var (
	passing = []string{"LOADING", "BUSY", "NOREPLICAS", "ERR max number of clients"}
	moving  = []string{"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY"}
)

// outcomeOf tells what became of a script from the error that came instead of its answer.
func outcomeOf(err error) outcome {
	var reply redis.Error
	var timeout net.Error
	var op *net.OpError
	switch {
	case errors.As(err, &reply):
		return outcomeOfReply(reply.Error())
	case errors.As(err, &op) && op.Op == "dial", errors.Is(err, redis.ErrPoolTimeout):
		return unheard
	case errors.Is(err, redis.ErrClosed):
		return failed
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return late
	}
	return unknown
}

func outcomeOfReply(text string) outcome {
	if strings.HasPrefix(text, "NOSCRIPT") {
		return unloaded
	}
	for _, word := range passing {
		if strings.HasPrefix(text, word) {
			return unheard
		}
	}
	for _, word := range moving {
		if strings.HasPrefix(text, word) {
			return elsewhere
		}
	}
	// Before Redis 7 an error inside of a script has another text before it.
	switch {
	case strings.Contains(text, "-READONLY "):
		return elsewhere
	case strings.Contains(text, "-NOREPLICAS "):
		return unheard
	}
	return failed
}
