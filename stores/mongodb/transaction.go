package haltmongo

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	halt "github.com/halt-dev/halt/core"
)

// Calls of several charges are decided together, by a transaction: it reads all of their documents and the clock at once,
// the calls are decided here, one after the other, and what has changed is written at once. If anybody else has written one
// of the documents meanwhile, MongoDB refuses the transaction, and it starts again.

var transactionOptions = options.Transaction().
	SetReadConcern(readconcern.Snapshot()).
	SetWriteConcern(writeconcern.Majority()).
	SetReadPreference(readpref.Primary())

const (
	labelTransient = "TransientTransactionError"      // nothing of the transaction is there
	labelUnknown   = "UnknownTransactionCommitResult" // all of it or nothing; it can be committed again
)

// sendTransaction decides calls of several charges, and answers them.
func (s *sender) sendTransaction(ctx context.Context, calls []*call) {
	l := newLedger(calls)
	if err := s.store.transact(ctx, l); err != nil {
		answer(calls, typed(err))
		return
	}
	for i, w := range calls {
		w.Answer(l.errs[i])
	}
}

// transact runs the transaction until it comes through.
func (s *Store) transact(ctx context.Context, l *ledger) error {
	session, err := s.collection.Database().Client().StartSession()
	if err != nil {
		return err
	}
	defer func() {
		// The session of a transaction that hangs has to end, too, or it would keep its documents from everybody: within a time
		// that begins now.
		ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
		defer cancel()
		session.EndSession(ctx)
	}()

	giveUp := time.Now().Add(s.timeout * 3 / 4) // before the callers do, and say why
	for attempt := 1; ; attempt++ {
		err := s.try(ctx, session, l)
		if err == nil || !transient(err) {
			return err
		}
		if time.Now().After(giveUp) || pause(ctx, attempt) != nil {
			return errContention
		}
	}
}

// transient tells whether a transaction failed since others were quicker, or a server changed its role.
func transient(err error) bool {
	var labeled mongo.LabeledError
	return errors.As(err, &labeled) && labeled.HasErrorLabel(labelTransient) || outcomeOf(err) == conflicted
}

// try runs the transaction once.
func (s *Store) try(ctx context.Context, session *mongo.Session, l *ledger) error {
	if err := session.StartTransaction(transactionOptions); err != nil {
		return err
	}
	ctx = mongo.NewSessionContext(ctx, session)
	found, now, err := s.readAll(ctx, l)
	if err == nil {
		l.decide(found, now)
		if writes := l.writes(); len(writes) > 0 {
			_, err = s.collection.BulkWrite(ctx, writes, options.BulkWrite().SetOrdered(false))
		} else {
			_ = session.AbortTransaction(ctx) // nothing is to be written, or waited for
			return nil
		}
	}
	if err != nil {
		abort, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
		defer cancel()
		_ = session.AbortTransaction(abort) // the first error is the one to tell
		return err
	}
	for {
		err = session.CommitTransaction(ctx)
		var labeled mongo.LabeledError
		if err == nil || ctx.Err() != nil || !errors.As(err, &labeled) || !labeled.HasErrorLabel(labelUnknown) {
			return err
		}
	}
}

// readAll reads the ledger's documents, and the time.
func (s *Store) readAll(ctx context.Context, l *ledger) ([]bson.Raw, halt.Instant, error) {
	ids := make(bson.A, len(l.budgets))
	for i := range l.budgets {
		ids[i] = l.budgets[i].id.value()
	}
	// A facet gives one answer, with the time in it, even if there is no document.
	cursor, err := s.collection.Aggregate(ctx, bson.A{
		unary("$match", bson.D{field(fieldID, unary("$in", ids))}),
		unary("$facet", bson.D{field("d", bson.A{unary("$unset", bson.A{fieldBefore, fieldExpires})})}),
		set(field("t", s.clock().date())),
	})
	if err != nil {
		return nil, 0, err
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	if !cursor.Next(ctx) {
		return nil, 0, errors.Join(cursor.Err(), errAnswer)
	}
	ms, ok := cursor.Current.Lookup("t").DateTimeOK()
	list, isArray := cursor.Current.Lookup("d").ArrayOK()
	if !ok || !isArray {
		return nil, 0, errAnswer
	}
	values, err := list.Values()
	if err != nil {
		return nil, 0, errAnswer
	}
	docs := make([]bson.Raw, 0, len(values))
	for _, v := range values {
		if doc, ok := v.DocumentOK(); ok {
			docs = append(docs, doc)
		}
	}
	return docs, halt.Instant(ms) * 1000, nil
}

// writes are what the transaction writes: the documents of all calls that change anything, also those that they only looked
// at, so that nobody else changes them at the same time.
func (l *ledger) writes() []mongo.WriteModel {
	var models []mongo.WriteModel
	nonce := int64(rand.Uint64() >> 1)
	for i := range l.budgets {
		if u := &l.budgets[i]; u.touched {
			models = append(models, mongo.NewReplaceOneModel().
				SetFilter(bson.D{field(fieldID, u.id.value())}).
				SetReplacement(u.document(nonce, l.now)).
				SetUpsert(true))
		}
	}
	return models
}
