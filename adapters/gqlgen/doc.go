// Package haltgqlgen limits the operations of a gqlgen server, their fields, and what they cost over time.
//
//	points, todos := halt.Policy{Name: "points", Limit: 1000, Window: time.Minute}, halt.Policy{Name: "todos", Limit: 10, Window: time.Minute}
//	srv.Use(haltgqlgen.Operations(halt.New(memory.New(nil), nil), haltgqlgen.Config{
//		Rules:  []haltgqlgen.Rule{{Policy: points, Key: haltgqlgen.ByIP(), Cost: haltgqlgen.Complexity}},
//		Fields: haltgqlgen.Fields{"Mutation.createTodo": {Policy: todos, Key: haltgqlgen.ByIP()}},
//	}))
//	mux.Handle("/query", haltgqlgen.Handler(srv))
//
// [Operations] takes rules over whole operations, whose cost is 1 each ([PerOperation]), what the document asks for
// ([Complexity]), how much it does at its root ([RootFields]) or a function's, and may be settled with what was
// executed; limits on fields, by code or by a directive in the schema ([Directive], [RateLimit]), which are read from the
// document, so that a field under a hundred aliases pays a hundred times; and a limit on the events of subscriptions.
// [Handler] lets rules know the client's address, and gives refusals their HTTP status.
//
// A refusal is a GraphQL error with these extensions:
//
//	code        RATE_LIMITED, RATE_LIMIT_KEY_MISSING or RATE_LIMIT_UNAVAILABLE
//	policy      the name of the policy that refused it the longest; these and what follows only for RATE_LIMITED
//	limit       the policy's limit
//	remaining   what could be spent right now
//	retryAfter  in how many seconds, rounded up, the same can be admitted; null if waiting doesn't help
//	resetAfter  in how many seconds, rounded up, all of the budget is back
//
// What never reaches an extension isn't counted by it: documents that can't be parsed or don't validate, hashes of
// persisted queries that the server doesn't know, batches, which gqlgen answers 400. None of it reaches a resolver. Let
// package halthttp count requests, around [Handler], to bound them as well, and give gqlgen's server a
// SetParserTokenLimit. Don't use gqlgen's ComplexityLimit beside it: it visits nested fragments again and again, and
// takes exponential time before anything can refuse. A rule with [Complexity] refuses what its policy can't hold.
package haltgqlgen
