package main

import (
	"context"
	"errors"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest/testserver"
	haltmongo "github.com/halt-dev/halt/stores/mongodb"
)

const mongoModule = "go.mongodb.org/mongo-driver/v2"

func mongoDatabase() database {
	const least = "findOneAndUpdate `$inc`"
	on := func(name, how string, p halt.Policy) databaseDecider {
		return databaseDecider{
			Name: name, Module: ours + "stores/mongodb", How: how, Limits: true,
			New: func(r rule, addr string) (take, func(), error) {
				c, closer, err := mongoCollection(addr)
				if err != nil {
					return nil, nil, err
				}
				s, err := haltmongo.New(c, &haltmongo.Options{Timeout: patience})
				return haltOn(s, p, r), closer, err
			},
		}
	}
	return database{
		Name:    "MongoDB",
		Start:   func(tb testing.TB) string { return testserver.MongoDB(tb).Addr() },
		Version: func(string) (string, error) { return "(SecantusDB 0.7.0b3, which speaks its protocol)", nil },
		Least:   least,
		Deciders: []databaseDecider{
			on(haltName, "`Limiter.Allow` on `haltmongo.New(collection, nil)`: token bucket", halt.Policy{}),
			on("halt, sliding window", "the same, Precision 10", halt.Policy{Algorithm: halt.SlidingWindow}),
			{Name: least, Module: mongoModule, How: "with upsert, write concern majority, and the document after it", New: newMongoInc},
			{Name: getThenSet, Module: mongoModule, How: "find, compare, replaceOne with upsert", Limits: true, New: newMongoGetThenSet},
		},
	}
}

// mongoCollection returns a new collection. Writes are not retried, by no contender: SecantusDB looks through all that it has kept
// of retryable writes at each of them, and gets slower by that with every pass.
func mongoCollection(addr string) (*mongo.Collection, func(), error) {
	client, err := mongo.Connect(mongooptions.Client().ApplyURI("mongodb://" + addr + "/?directConnection=true&retryWrites=false"))
	if err != nil {
		return nil, nil, err
	}
	c := client.Database("bench").Collection(keyspace(), mongooptions.Collection().SetWriteConcern(writeconcern.Majority()))
	return c, func() {
		_ = c.Drop(context.Background()) // what stays behind slows the others alike
		_ = client.Disconnect(context.Background())
	}, nil
}

func newMongoInc(_ rule, addr string) (take, func(), error) {
	c, closer, err := mongoCollection(addr)
	if err != nil {
		return nil, nil, err
	}
	ctx, inc := context.Background(), bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: int64(1)}}}}
	o := mongooptions.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(mongooptions.After)
	return func(key string) bool {
		for {
			err := c.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: key}}, inc, o).Err()
			if mongo.IsDuplicateKeyError(err) { // two made it at once
				continue
			}
			// SecantusDB has counted, but shows no document, where another made it at the same time.
			return err == nil || errors.Is(err, mongo.ErrNoDocuments)
		}
	}, closer, nil
}

func newMongoGetThenSet(r rule, addr string) (take, func(), error) {
	c, closer, err := mongoCollection(addr)
	if err != nil {
		return nil, nil, err
	}
	ctx, upsert := context.Background(), mongooptions.Replace().SetUpsert(true)
	return func(key string) bool {
		id := bson.D{{Key: "_id", Value: key}}
		var doc struct{ N int64 }
		if err := c.FindOne(ctx, id).Decode(&doc); err != nil && !errors.Is(err, mongo.ErrNoDocuments) || doc.N >= r.Limit {
			return false
		}
		_, err := c.ReplaceOne(ctx, id, bson.D{{Key: "_id", Value: key}, {Key: "n", Value: doc.N + 1}}, upsert)
		return err == nil || mongo.IsDuplicateKeyError(err)
	}, closer, nil
}
