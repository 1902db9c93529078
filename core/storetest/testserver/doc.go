// Package testserver runs real servers for tests.
//
// A store is worth what it does on the real server, so its tests start one:
//
//	func TestStore(t *testing.T) {
//		server := testserver.Redis(t)
//		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
//		...
//		server.Kill()    // the power cut
//		server.Restart() // the same address, afresh
//	}
//
// The server is a child process, bound to a free port of the loopback
// interface, with a temporary folder of its own. It answers when [Start]
// returns. It, its children and its folder are gone when the test has ended,
// also when the test fails. Should the test process itself be killed, then on
// Linux the server dies with it, and only the folder stays behind; on other
// systems the server stays too.
//
// Any number of servers can run at once, within one test process and across
// several. A port is never taken from the range out of which the system gives
// ports to outgoing connections, so that none of them steals the address of a
// server that is down between [Server.Kill] and [Server.Restart].
//
// A server that is not installed fails the test and is never a reason to skip
// it: a run that is green has talked to the real server. What the servers
// print is logged only if the test fails.
//
// [Redis], [RedisCluster], [Memcached], [Postgres], [DynamoDB] and [MongoDB]
// start what their names say. A [Command] describes any other server.
//
// The package works on Unix systems. Elsewhere it compiles, and [Start] fails
// the test.
package testserver
