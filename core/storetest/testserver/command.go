package testserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// defaultTimeout bounds how long a server may take until it answers.
const defaultTimeout = 20 * time.Second

// A Command describes a server: how to find it, start it, and know that it
// answers. Program and Args are required.
type Command struct {
	// Program is the name of the server's executable, or a path to it. A name
	// is looked for on PATH, then in Folders.
	Program string

	// Folders are patterns, as for [filepath.Glob], of folders that hold the
	// program where it is not on PATH. Of several matches of one pattern the
	// last in alphabetical order wins, as the newest version.
	Folders []string

	// Package is the Debian package that brings Program. It is named when the
	// program is missing. The default is the name of the program.
	Package string

	// User is the user to run as when the tests run as root, for servers that
	// refuse to be root. The default is to stay what the tests are.
	User string

	// Env has variables of the form "key=value", which go before those of the
	// test process. HOME, the temporary folder, and LC_ALL, "C", are set too.
	Env []string

	// Prepare, if not nil, runs before the server's first start, with the
	// folder and the port known; again, if that start finds the port taken,
	// with new ones. It does not run for [Server.Restart]. Files that it writes
	// belong to the user of the tests; programs that it calls by [Server.Run]
	// run as the server's.
	Prepare func(ctx context.Context, s *Server) error

	// Args returns the server's arguments, given its temporary folder, which
	// is also its working directory, and the port to listen on at 127.0.0.1.
	// The server must stay in the foreground.
	Args func(dir string, port int) []string

	// Ready returns nil once the server answers; it is asked until then. It
	// should compare what it can with [Server.Pid], so that a stranger on the
	// same port is not taken for this server. The default is to wait until the
	// port accepts a connection.
	Ready func(ctx context.Context, s *Server) error

	// StopSignal asks the server to end in an orderly way. The default is
	// SIGTERM.
	StopSignal os.Signal

	// Cleanup, if not nil, runs before the folder is removed, when the server
	// is gone, or if it never came to run. It is for what a killed server
	// leaves behind outside of the folder.
	Cleanup func(ctx context.Context, s *Server) error

	// Timeout bounds a start, from Prepare to the first answer, with all tries.
	// The default is 20 seconds.
	Timeout time.Duration
}

// withDefaults returns the command with every optional value filled in, or an
// error that names what is missing.
func (c Command) withDefaults() (Command, error) {
	if c.Program == "" {
		return c, fmt.Errorf("the command has no Program")
	}
	if c.Args == nil {
		return c, fmt.Errorf("the command for %s has no Args", c.Program)
	}
	if c.Package == "" {
		c.Package = filepath.Base(c.Program)
	}
	if c.Ready == nil {
		c.Ready = accepts
	}
	if c.StopSignal == nil {
		c.StopSignal = syscall.SIGTERM
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	return c, nil
}

// accepts is the default of [Command.Ready].
func accepts(ctx context.Context, s *Server) error {
	conn, err := dial(ctx, s.Addr())
	if err != nil {
		return err
	}
	return conn.Close()
}

// find returns the path of the program.
func (c Command) find() (string, error) {
	path, err := lookup(c.Program, c.Folders)
	if err != nil {
		return "", fmt.Errorf("%w; install it, on Debian by: apt-get install %s", err, c.Package)
	}
	return path, nil
}

// lookup finds a program on PATH, or in the folders that match the patterns.
func lookup(program string, patterns []string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		// The server runs in another directory, where a relative path would
		// mean something else.
		return filepath.Abs(path)
	}
	if filepath.Base(program) == program {
		for _, pattern := range patterns {
			matches, err := filepath.Glob(filepath.Join(pattern, program))
			if err != nil {
				return "", fmt.Errorf("the folder pattern %q: %w", pattern, err)
			}
			slices.Sort(matches)
			for _, match := range slices.Backward(matches) {
				if path, err := exec.LookPath(match); err == nil {
					return path, nil
				}
			}
		}
	}
	where := "PATH"
	if len(patterns) > 0 {
		where += ", " + strings.Join(patterns, ", ")
	}
	return "", fmt.Errorf("%s is not installed (looked in %s): %w", program, where, err)
}
