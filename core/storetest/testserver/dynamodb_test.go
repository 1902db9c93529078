//go:build unix

package testserver

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// askDynamoDB calls an operation and returns the answer's body.
func askDynamoDB(t *testing.T, s *Server, operation, body string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
	answer, err := dynamoDBProbe.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

// One test for all of it: each start takes seconds.
func TestDynamoDB(t *testing.T) {
	t.Parallel()
	// The first port goes to a stranger, who is quicker.
	c := dynamoDB(nil)
	args, starts := c.Args, 0
	c.Args = func(dir string, port int) []string {
		if starts++; starts == 1 {
			l := take(t, port)
			t.Cleanup(func() { l.Close() })
			go serve(l, "")
		}
		return args(dir, port)
	}
	s := Start(t, c)
	if starts != 2 {
		t.Errorf("%d starts, want 2", starts)
	}

	want := func(operation, body, want string) {
		t.Helper()
		if got, err := askDynamoDB(t, s, operation, body); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %s, %v; want %s", operation, got, err, want)
		}
	}
	table := `{"TableName":"table","AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],` +
		`"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST"}`
	want("CreateTable", table, `"ACTIVE"`)
	want("ListTables", "{}", `["table"]`)
	s.Pause()
	s.Resume()
	want("ListTables", "{}", `["table"]`)
	pid := s.Pid()
	s.Kill()
	wantDown(t, s, pid)
	s.Restart()
	want("ListTables", "{}", `[]`)
	if _, port, err := net.SplitHostPort(s.Addr()); err != nil || !strings.Contains(s.Output(), port) {
		t.Errorf("it does not say that it listens on %s: %v", s.Addr(), err)
	}
}

func TestDynamoDBMissing(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir()) // where other systems have it
	tb := runFake(t, func(tb testing.TB) { DynamoDB(tb) })
	tb.wantFailure(t, "DynamoDB Local is missing", "scripts/prerequisites.sh")
}
