package haltmongo

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
	"github.com/halt-dev/halt/core/storetest"
)

// What is not Halt's, or damaged, is an error of each call that meets it, and stays as it is, to the last byte.
func TestDamaged(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t, &patient)
	for how, damage := range damages() {
		for a := halt.TokenBucket; a <= halt.InFlight; a++ {
			p := halt.Policy{Name: a.String()[:3], Algorithm: a, Limit: 10, Window: time.Hour, Block: time.Hour}
			c := p.Charge(how, 1)
			take(t, s, c)
			damage(t, s, c)
			id := newDocumentID(&c)
			before, err := s.find(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			for m := halt.Take; m <= halt.Credit; m++ {
				c.Mode, c.Taken, c.Shadow = m, 1, false
				if m == halt.Shadow {
					continue // another budget's
				}
				if d, err := storetest.TakeOne(ctx, s, c); !errors.Is(err, halt.ErrCorrupt) {
					t.Errorf("%s, %s, a %s: %+v, %v", how, a, m, d, err)
				}
			}
			c.Mode = halt.Take
			if err := s.Take(ctx, []halt.Charge{p.Charge("fine", 1), c}, make([]halt.Decision, 2)); !errors.Is(err, halt.ErrCorrupt) {
				t.Errorf("%s, %s, a call of two: %v", how, a, err)
			}
			if after, err := s.find(ctx, id); err != nil || !bytes.Equal(before, after) {
				t.Errorf("%s, %s: it was changed from %v to %v (%v)", how, a, before, after, err)
			}
		}
	}
}

// damages are ways to spoil what a document holds.
func damages() map[string]func(testing.TB, halt.Store, halt.Charge) {
	change := func(f func(c *mongo.Collection, id bson.D) error) func(testing.TB, halt.Store, halt.Charge) {
		return func(tb testing.TB, s halt.Store, c halt.Charge) {
			if err := f(s.(*Store).collection, bson.D{field(fieldID, newDocumentID(&c).value())}); err != nil {
				tb.Fatal(err)
			}
		}
	}
	replace := func(fields ...bson.E) func(testing.TB, halt.Store, halt.Charge) {
		return change(func(c *mongo.Collection, id bson.D) error {
			_, err := c.ReplaceOne(context.Background(), id, append(bson.D{}, fields...))
			return err
		})
	}
	set := func(name string, v any) func(testing.TB, halt.Store, halt.Charge) {
		return change(func(c *mongo.Collection, id bson.D) error {
			_, err := c.UpdateOne(context.Background(), id, unary("$set", bson.D{field(name, v)}))
			return err
		})
	}
	ways := map[string]func(testing.TB, halt.Store, halt.Charge){
		"empty":      replace(),
		"foreign":    replace(field("name", "somebody else's"), field("tags", bson.A{"x"})),
		"counter":    replace(field("n", int64(5)), field("e", time.Now())),
		"cut off":    replace(field(fieldAt, int64(1))),
		"text":       set(fieldAt, "1773500966535"),
		"double":     set(fieldAt, 1773500966535.0),
		"NaN":        set(fieldUsed, math.NaN()),
		"int32":      set(fieldUsed, int32(2)),
		"negative":   set(fieldUsed, int64(-1)),
		"too much":   set(fieldUsed, algorithm.Most+1),
		"too late":   set(fieldAt, mostAt+1),
		"null":       set(fieldBlocked, nil),
		"long block": set(fieldBlocked, int64(algorithm.Decade/time.Microsecond)+1),
		"array":      set(fieldUsed, bson.A{int64(2)}),
		"document":   set(fieldAt, bson.D{field("x", int64(5))}),
	}
	for name, v := range map[string]any{
		"int32 count": int32(1), "double count": 1.0, "negative count": int64(-1), "large count": algorithm.Most + 1, "text count": "1", "null count": nil,
		"nested count": bson.A{int64(1)},
	} {
		// Of what has no counts the first is one too many, and harms nobody.
		ways[name] = change(func(c *mongo.Collection, id bson.D) error {
			_, err := c.UpdateOne(context.Background(), id, unary("$set", bson.D{field(fieldCounts+".0", v), field(fieldUsed, v)}))
			return err
		})
	}
	for name, v := range map[string]any{"one count": bson.A{int64(2)}, "no counts": bson.A{}, "text for counts": "2", "many counts": slices.Repeat(bson.A{int64(1)}, 62)} {
		ways[name] = change(func(c *mongo.Collection, id bson.D) error {
			_, err := c.UpdateOne(context.Background(), id, unary("$set", bson.D{field(fieldCounts, v), field(fieldUsed, "")}))
			return err
		})
	}
	return ways
}
