package testserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// secantus is where scripts/prerequisites.sh puts the server, below the user's
// cache: a Python environment.
const secantus = "halt/secantusdb-0.7.0b3/bin"

// secantusMain starts the server. As it comes, it reads the whole collection
// whenever a findAndModify meets a document that exists, or a filter has more
// than _id in it: with a thousand documents a test would wait for nothing else.
// So documents that can match are looked up by _id first; which of them do
// match is then decided as ever. Nothing else of it is changed.
const secantusMain = `
from secantus import cli, storage

plain = storage.Storage._try_index_id_keys

def by_id(self, db, coll, filter, **options):
    if len(filter) > 1 and "_id" in filter:
        found = plain(self, db, coll, {"_id": filter["_id"]}, **options)
        if found is not None:
            return found
    return plain(self, db, coll, filter, **options)

storage.Storage._try_index_id_keys = by_id
raise SystemExit(cli.main())
`

// MongoDB starts a server that speaks MongoDB's protocol, with an empty
// database: SecantusDB, since no package of MongoDB itself is to be had. It
// calls itself the only member of a replica set, so connect with
//
//	"mongodb://" + server.Addr() + "/?directConnection=true"
//
// What was written is there again after [Server.Restart]. The arguments are
// those of secantusd-py and override the defaults:
//
//	testserver.MongoDB(t, "--standalone")                 // no replica set, no transactions
//	testserver.MongoDB(t, "--storage-path", ":memory:")   // empty after Restart
//
// It fails as [Start] does. scripts/prerequisites.sh brings the program.
func MongoDB(tb testing.TB, args ...string) *Server {
	tb.Helper()
	cache, err := os.UserCacheDir()
	if err == nil {
		_, err = os.Stat(filepath.Join(cache, secantus, "secantusd-py"))
	}
	if err != nil {
		tb.Fatalf("testserver: SecantusDB is not installed: %v; run scripts/prerequisites.sh", err)
	}
	return Start(tb, mongodb(filepath.Join(cache, secantus, "python3"), args))
}

func mongodb(path string, args []string) Command {
	return Command{
		Program: path,
		Args: func(dir string, port int) []string {
			return append([]string{
				"-c", secantusMain,
				"--host", "127.0.0.1",
				"--port", strconv.Itoa(port),
				"--storage-path", filepath.Join(dir, "data"),
				"--log-level", "ERROR",
			}, args...)
		},
		Ready: mongodbReady,
		// It starts a Python interpreter; on a busy machine that takes seconds.
		Timeout: time.Minute,
	}
}

// mongodbReady asks the server which process it is.
func mongodbReady(ctx context.Context, s *Server) error {
	conn, err := dial(ctx, s.Addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(mongodbCommand("serverStatus")); err != nil {
		return err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n < 16 || n > 16<<20 {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	answer := make([]byte, n-4)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	pid, ok := mongodbPid(answer)
	if !ok {
		// It answers; who it is it tells only to those who log in.
		if bytes.Contains(answer, []byte("Unauthorized")) {
			return nil
		}
		return errors.New("serverStatus tells no pid")
	}
	return s.is(strconv.FormatInt(pid, 10))
}

// mongodbCommand returns the message (OP_MSG) of a command without arguments
// to the database admin.
func mongodbCommand(name string) []byte {
	var doc []byte // BSON: {name: 1, $db: "admin"}
	doc = append(doc, 0x10)
	doc = append(doc, name...)
	doc = append(doc, 0, 1, 0, 0, 0)
	doc = append(doc, "\x02$db\x00\x06\x00\x00\x00admin\x00\x00"...)
	const header = 16 + 4 + 1 // of the message, its flags, the kind of its only section
	b := binary.LittleEndian.AppendUint32(nil, uint32(header+4+len(doc)))
	b = append(b, 1, 0, 0, 0, 0, 0, 0, 0) // request 1, answer to none
	b = binary.LittleEndian.AppendUint32(b, 2013)
	b = append(b, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(4+len(doc)))
	return append(b, doc...)
}

// mongodbPid finds the number called pid in an answer: an int32, or of MongoDB
// itself an int64.
func mongodbPid(answer []byte) (int64, bool) {
	if _, after, ok := bytes.Cut(answer, []byte("\x10pid\x00")); ok && len(after) >= 4 {
		return int64(binary.LittleEndian.Uint32(after)), true
	}
	if _, after, ok := bytes.Cut(answer, []byte("\x12pid\x00")); ok && len(after) >= 8 {
		return int64(binary.LittleEndian.Uint64(after)), true
	}
	return 0, false
}
