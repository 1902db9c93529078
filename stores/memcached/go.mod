module github.com/halt-dev/halt/stores/memcached

go 1.25.0

require github.com/halt-dev/halt/core v0.0.0

replace github.com/halt-dev/halt/core => ../../core
