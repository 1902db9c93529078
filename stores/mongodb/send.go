package haltmongo

import (
	"context"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	halt "github.com/halt-dev/halt/core"
)

// attempts is how often an update is sent at most, if each time it is certain that it changed nothing.
const attempts = 8

// sender carries batches to MongoDB, one after the other.
type sender struct {
	store *Store
	batch batch
}

// Send implements combine.Sender.
func (s *sender) Send(ctx context.Context, id documentID, calls []*call) {
	if id == (documentID{}) {
		s.sendTransaction(ctx, calls)
		return
	}
	for len(calls) > 0 {
		calls = s.batch.arrange(calls)
		s.update(ctx, id, &s.batch)
		clear(s.batch.calls[:cap(s.batch.calls)])
	}
}

// update decides a batch, and answers all of its calls.
func (s *sender) update(ctx context.Context, id documentID, b *batch) {
	at := halt.InstantOf(time.Now())
	if s.store.now != nil {
		at = s.store.now()
	}
	clashed, resent := false, false
	for attempt := 1; len(b.calls) > 0; attempt++ {
		b.order(at)
		b.nonce = int64(rand.Uint64() >> 1)
		raw, err := s.store.send(ctx, id, b)
		if err != nil && outcomeOf(err) != failed {
			// Whether it ran, the document tells, unless somebody else has written it since.
			if found, lost := s.store.find(ctx, id); lost == nil {
				switch n, ok := found.Lookup(fieldNonce).Int64OK(); {
				case ok && n == b.nonce:
					raw, err = found, nil
				case !b.before.read(found, &b.shape):
					answer(b.calls, errCorrupt)
					return
				}
			}
		}
		if err == nil {
			now, v := b.decide(raw)
			switch {
			case v == uncovered && !clashed:
				at, clashed = now, true
				continue
			case v == undecided:
				b.long = true
				continue
			}
			answer(b.calls, verdictError(v))
			return
		}
		switch outcomeOf(err) {
		case conflicted:
			if attempt < attempts && pause(ctx, attempt) == nil {
				continue
			}
			err = errContention
		case unknown:
			if !resent {
				resent = true
				b.answerUnrepeatable(err)
				continue
			}
		case failed:
		}
		answer(b.calls, typed(err))
		return
	}
}

func verdictError(v verdict) error {
	switch v {
	case decided:
		return nil
	case uncovered:
		return errClock
	case corrupt:
		return errCorrupt
	default:
		return errAnswer
	}
}

// answerUnrepeatable answers the calls that must not run twice.
func (b *batch) answerUnrepeatable(err error) {
	kept := b.calls[:0]
	for _, w := range b.calls {
		if w.Repeatable() {
			kept = append(kept, w)
		} else {
			w.Answer(typed(err))
		}
	}
	b.calls = kept
}

func answer(calls []*call, err error) {
	for _, w := range calls {
		w.Answer(err)
	}
}

// send sends the batch's update, and returns the document that it left.
func (s *Store) send(ctx context.Context, id documentID, b *batch) (bson.Raw, error) {
	filter, update, err := s.plans.of(b, id, s.clock())
	if err != nil {
		return nil, err
	}
	return s.collection.FindOneAndUpdate(ctx, filter, update, afterUpsert).Raw()
}

var afterUpsert = options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)

// clock is MongoDB's, but in tests that set it.
func (s *Store) clock() clock {
	if s.now != nil {
		return clock{fixed: true, at: int64(s.now() / 1000)}
	}
	return serverClock
}

// find returns the document.
func (s *Store) find(ctx context.Context, id documentID) (bson.Raw, error) {
	return s.collection.FindOne(ctx, bson.D{field(fieldID, id.value())}).Raw()
}

// pause waits for a moment, longer each time, and by chance.
func pause(ctx context.Context, attempt int) error {
	most := time.Millisecond << min(attempt, 4)
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
