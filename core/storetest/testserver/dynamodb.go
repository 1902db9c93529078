package testserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// dynamoDBFolder is where scripts/prerequisites.sh puts DynamoDB Local, in the
// user's folder of caches.
const dynamoDBFolder = "halt/dynamodb-local-1.25.1"

// DynamoDB starts DynamoDB Local, Amazon's own for tests. After
// [Server.Restart] it has no tables. Any credentials and any region do, and all
// see the same tables:
//
//	dynamodb.Options{BaseEndpoint: aws.String("http://" + server.Addr()), ...}
//
// The arguments are those of DynamoDB Local and come after the defaults. It
// takes some seconds to start, so tests of a package should share one, with a
// table each.
//
// It fails as [Start] does. No distribution has the program:
// scripts/prerequisites.sh fetches it. It runs on Java, in Debian's package
// default-jre-headless.
func DynamoDB(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return Start(tb, dynamoDB(args))
}

func dynamoDB(args []string) Command {
	cache, err := os.UserCacheDir()
	folder := filepath.Join(cache, filepath.FromSlash(dynamoDBFolder))
	jar := filepath.Join(folder, "DynamoDBLocal.jar")
	var server *Server
	var born int64 // how much had been printed when its present life began
	return Command{
		Program: "java",
		Package: "default-jre-headless",
		Prepare: func(_ context.Context, s *Server) error {
			server = s
			if err != nil {
				return err
			}
			if _, err := os.Stat(jar); err != nil {
				return fmt.Errorf("DynamoDB Local is missing, run scripts/prerequisites.sh: %w", err)
			}
			return nil
		},
		Args: func(_ string, port int) []string {
			born = server.output.mark()
			return append([]string{
				// One that lives for seconds is better off without the second
				// compiler and the collector for large machines.
				"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
				"-Djava.library.path=" + filepath.Join(folder, "DynamoDBLocal_lib"),
				"-jar", jar,
				"-inMemory", "-sharedDb", "-disableTelemetry",
				"-port", strconv.Itoa(port),
			}, args...)
		},
		Ready: func(ctx context.Context, s *Server) error { return dynamoDBReady(ctx, s, s.output.since(born)) },
		// On a busy machine; else 3 seconds.
		Timeout: 2 * time.Minute,
	}
}

// dynamoDBReady waits for an answer of DynamoDB's kind. No answer tells which
// process gave it; but one that found its port taken has printed so.
func dynamoDBReady(ctx context.Context, s *Server, printed string) error {
	if strings.Contains(printed, "Address already in use") {
		// It would stay, and do nothing.
		if pid := s.Pid(); pid != 0 {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill() // it may have ended by now
			}
		}
		return errors.New("it could not bind to its port")
	}
	if !strings.Contains(printed, "CorsParams") { // the last that it prints before it binds
		return errors.New("it has not come to its port yet")
	}
	// The server's first request loads classes for half a second. That is not to
	// be the first that a test makes.
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.Addr(), strings.NewReader("{}"))
	if err != nil {
		return err
	}
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810.ListTables")
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/local/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
	answer, err := dynamoDBProbe.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Header.Get("X-Amzn-Requestid") == "" {
		return fmt.Errorf("ListTables was answered by %s", answer.Status)
	}
	return nil
}

// dynamoDBProbe keeps no connection.
var dynamoDBProbe = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
