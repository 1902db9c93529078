module github.com/halt-dev/halt/adapters/chi

go 1.25.0

require (
	github.com/go-chi/chi/v5 v5.5.0
	github.com/halt-dev/halt/core v0.0.0
)

replace github.com/halt-dev/halt/core => ../../core
