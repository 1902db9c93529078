package haltmongo

import "go.mongodb.org/mongo-driver/v2/bson"

// The aggregation expressions that the pipelines are made of, under shorter names.

func op(name string, args ...any) bson.D { return bson.D{{Key: name, Value: bson.A(args)}} }

func unary(name string, arg any) bson.D { return bson.D{{Key: name, Value: arg}} }

func add(args ...any) bson.D         { return op("$add", args...) }
func subtract(a, b any) bson.D       { return op("$subtract", a, b) }
func multiply(a, b any) bson.D       { return op("$multiply", a, b) }
func divide(a, b any) bson.D         { return op("$divide", a, b) }
func mod(a, b any) bson.D            { return op("$mod", a, b) }
func least(args ...any) bson.D       { return op("$min", args...) }
func greatest(args ...any) bson.D    { return op("$max", args...) }
func more(a, b any) bson.D           { return op("$gt", a, b) }
func less(a, b any) bson.D           { return op("$lt", a, b) }
func atMost(a, b any) bson.D         { return op("$lte", a, b) }
func atLeast(a, b any) bson.D        { return op("$gte", a, b) }
func equal(a, b any) bson.D          { return op("$eq", a, b) }
func all(args ...any) bson.D         { return op("$and", args...) }
func some(args ...any) bson.D        { return op("$or", args...) }
func otherwise(a, b any) bson.D      { return op("$ifNull", a, b) }
func cond(when, then, no any) bson.D { return op("$cond", when, then, no) }
func slice(args ...any) bson.D       { return op("$slice", args...) }
func join(args ...any) bson.D        { return op("$concatArrays", args...) }
func element(a, i any) bson.D        { return op("$arrayElemAt", a, i) }

// let gives values names in an expression. None of them sees the others.
func let(values bson.D, in any) bson.D {
	return unary("$let", bson.D{{Key: "vars", Value: values}, {Key: "in", Value: in}})
}

func literal(v any) bson.D { return unary("$literal", v) }

// field is one of a document, or of what a stage sets.
func field(name string, value any) bson.E { return bson.E{Key: name, Value: value} }

// set is a stage that sets fields. None of them sees what it sets the others to.
func set(fields ...bson.E) bson.D { return unary("$set", bson.D(fields)) }
