package haltredis

import (
	"crypto/sha1" //nolint:gosec // it is how Redis names scripts
	_ "embed"
	"encoding/hex"

	"github.com/redis/go-redis/v9"
)

//go:embed decide.lua
var decideSource string

// script is Lua, and its name in Redis.
type script struct{ source, sha string }

// decideScript is the only one. All that depends on it is the encoding in request.go and reply.go.
var decideScript = newScript(decideSource)

func newScript(source string) *script {
	sum := sha1.Sum([]byte(source)) //nolint:gosec // see above
	return &script{source: source, sha: hex.EncodeToString(sum[:])}
}

// once is a command that the client never repeats by itself. go-redis otherwise sends a command up to four times when
// replies are lost, and a Credit that runs twice admits what it must not.
type once struct{ *redis.Cmd }

// NoRetry is what go-redis asks a command, alone or in a pipeline, on a single server as on a cluster.
func (once) NoRetry() bool { return true }

// arg is an argument that go-redis writes without a copy or an allocation. It is passed by pointer.
type arg []byte

// MarshalBinary implements encoding.BinaryMarshaler.
func (a *arg) MarshalBinary() ([]byte, error) { return *a, nil }
