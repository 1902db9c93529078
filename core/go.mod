module github.com/halt-dev/halt/core

go 1.25.0
