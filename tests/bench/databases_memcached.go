package main

import (
	"bufio"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest/testserver"
	haltmemcached "github.com/halt-dev/halt/stores/memcached"
)

const memcacheModule = "github.com/bradfitz/gomemcache"

func memcachedDatabase() database {
	const least = "`incr`"
	on := func(name, how string, p halt.Policy) databaseDecider {
		return databaseDecider{
			Name: name, Module: ours + "stores/memcached", How: how, Limits: true,
			New: func(r rule, addr string) (take, func(), error) {
				s, err := haltmemcached.New([]string{addr}, &haltmemcached.Options{Timeout: patience, Prefix: keyspace() + ":"})
				if err != nil {
					return nil, nil, err
				}
				return haltOn(s, p, r), func() { _ = s.Close() }, nil
			},
		}
	}
	return database{
		Name:    "Memcached",
		Start:   func(tb testing.TB) string { return testserver.Memcached(tb, "-m", "256").Addr() },
		Version: memcachedVersion,
		Least:   least,
		Deciders: []databaseDecider{
			on(haltName, "`Limiter.Allow` on `haltmemcached.New(servers, nil)`: token bucket", halt.Policy{}),
			on("halt, sliding window", "the same, Precision 10", halt.Policy{Algorithm: halt.SlidingWindow}),
			{Name: least, Module: memcacheModule, How: "of a counter that is there", New: newMemcachedIncr},
			{Name: getThenSet, Module: memcacheModule, How: "get, compare, set", Limits: true, New: newMemcachedGetThenSet},
		},
	}
}

func memcachedVersion(addr string) (string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := c.Write([]byte("version\r\n")); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(strings.TrimPrefix(line, "VERSION ")), err
}

func memcachedClient(addr string) *memcache.Client {
	c := memcache.New(addr)
	c.Timeout, c.MaxIdleConns = patience, databaseCallers
	return c
}

func newMemcachedIncr(_ rule, addr string) (take, func(), error) {
	c, prefix := memcachedClient(addr), keyspace()+":"
	return func(key string) bool {
		_, err := c.Increment(prefix+key, 1)
		if errors.Is(err, memcache.ErrCacheMiss) { // the first time
			err = c.Add(&memcache.Item{Key: prefix + key, Value: []byte("1")})
			return err == nil || errors.Is(err, memcache.ErrNotStored)
		}
		return err == nil
	}, func() { _ = c.Close() }, nil
}

func newMemcachedGetThenSet(r rule, addr string) (take, func(), error) {
	c, prefix := memcachedClient(addr), keyspace()+":"
	return func(key string) bool {
		var n int64
		switch item, err := c.Get(prefix + key); {
		case errors.Is(err, memcache.ErrCacheMiss):
		case err != nil:
			return false
		default:
			n, _ = strconv.ParseInt(string(item.Value), 10, 64)
		}
		if n >= r.Limit {
			return false
		}
		return c.Set(&memcache.Item{Key: prefix + key, Value: strconv.AppendInt(nil, n+1, 10)}) == nil
	}, func() { _ = c.Close() }, nil
}
