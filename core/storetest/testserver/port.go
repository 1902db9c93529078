package testserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Ports are drawn from here. The range lies below those out of which Linux
// (32768 and above) and the BSDs (49152 and above) number outgoing
// connections: a client that keeps dialling a server that is down can neither
// take its port nor connect to itself. A Redis cluster listens on the port plus
// 10000 as well, which stays outside of both ranges.
const (
	firstPort = 12000
	lastPort  = 21999
)

// errPortTaken says that a stranger holds the port.
var errPortTaken = errors.New("the port is taken")

// inUse has the ports of all servers of this process, also of those that are
// down and will come back.
var inUse = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// reservePort returns a port that no server of this process has, and a
// listener that holds it against other processes until it is closed.
func reservePort() (int, net.Listener, error) {
	inUse.Lock()
	defer inUse.Unlock()
	var last error
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if inUse.ports[port] {
			continue
		}
		l, err := listen(port)
		if err != nil {
			last = err
			continue
		}
		inUse.ports[port] = true
		return port, l, nil
	}
	return 0, nil, fmt.Errorf("no free port from %d to %d: %w", firstPort, lastPort, last)
}

// releasePort gives the port back to the servers of this process.
func releasePort(port int) {
	inUse.Lock()
	defer inUse.Unlock()
	delete(inUse.ports, port)
}

// portTaken reports whether somebody listens on the port.
func portTaken(port int) bool {
	l, err := listen(port)
	if err != nil {
		return true
	}
	_ = release(l) // nothing was accepted
	return false
}

// release closes a listener so that its port is free on return. A child that is
// being born has the listener too, until it has become another program; so this
// waits for births and holds up new ones.
func release(l net.Listener) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return l.Close()
}

func listen(port int) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(context.Background(), "tcp4", loopback(port))
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// dial connects to a server and lets no read or write outlast ctx.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp4", addr)
	if err != nil {
		return nil, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(probeTimeout)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
