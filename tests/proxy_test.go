package tests

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A module is one of a workspace: its import path and its folder.
type module struct{ Path, Dir string }

// workspace returns the modules that the go.work in root uses.
func workspace(t *testing.T, root string) []module {
	t.Helper()
	var work struct{ Use []struct{ DiskPath string } }
	parse(t, run(t, root, nil, "go", "work", "edit", "-json", "go.work"), &work)
	var ms []module
	for _, u := range work.Use {
		dir := filepath.Join(root, filepath.FromSlash(u.DiskPath))
		var mod goMod
		parse(t, run(t, dir, nil, "go", "mod", "edit", "-json"), &mod)
		ms = append(ms, module{Path: mod.Module.Path, Dir: dir})
	}
	return ms
}

// goMod is what `go mod edit -json` tells of a go.mod.
type goMod struct {
	Module  struct{ Path string }
	Require []struct{ Path, Version string }
}

// fileProxy lays the modules out as a module proxy that can be read as files, each at the given version and requiring its
// siblings at that version. Their replace lines stay: it is the go command that has to ignore them.
func fileProxy(t *testing.T, root string, ms []module, version string) string {
	t.Helper()
	proxy := t.TempDir()
	for _, m := range ms {
		at := filepath.Join(proxy, filepath.FromSlash(m.Path), "@v")
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		mod := published(t, m, ms, version)
		write(t, filepath.Join(at, "list"), version+"\n")
		write(t, filepath.Join(at, version+".info"), fmt.Sprintf(`{"Version":%q,"Time":"2020-01-01T00:00:00Z"}`, version))
		write(t, filepath.Join(at, version+".mod"), mod)
		if err := pack(filepath.Join(at, version+".zip"), m, mod, version, filepath.Join(root, "LICENSE")); err != nil {
			t.Fatal(err)
		}
	}
	return proxy
}

// published is the go.mod of m as it is at a release: it requires its siblings at that version.
func published(t *testing.T, m module, siblings []module, version string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(m.Dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), string(b))
	var mod goMod
	parse(t, run(t, dir, nil, "go", "mod", "edit", "-json"), &mod)
	for _, r := range mod.Require {
		if slices.ContainsFunc(siblings, func(s module) bool { return s.Path == r.Path }) {
			run(t, dir, nil, "go", "mod", "edit", "-require="+r.Path+"@"+version)
		}
	}
	b, err = os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pack writes the module's zip: its files under path@version/, those of modules within it left out, with the repository's
// license if it has none of its own, as the go command packs a module of a repository.
func pack(name string, m module, mod, version, license string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	z := zip.NewWriter(f)
	add := func(rel string, content []byte) error {
		w, err := z.Create(m.Path + "@" + version + "/" + rel)
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	}
	licensed := false
	err = filepath.WalkDir(m.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(m.Dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, nested := os.Stat(filepath.Join(path, "go.mod"))
			if rel != "." && (nested == nil || d.Name() == ".git" || d.Name() == "vendor") {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		switch rel {
		case "go.mod":
			b = []byte(mod)
		case "LICENSE":
			licensed = true
		}
		return add(filepath.ToSlash(rel), b)
	})
	if err != nil {
		return err
	}
	if b, err := os.ReadFile(license); err == nil && !licensed {
		if err := add("LICENSE", b); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}

// A consumer is a module of somebody else's, that knows the modules in question only from the proxy.
type consumer struct {
	dir string
	env []string
}

// newConsumer makes one. What the machine has of other modules it finds as it is; the rest comes from the proxy in force.
func newConsumer(t *testing.T, proxy string, ms []module) consumer {
	t.Helper()
	c := consumer{dir: t.TempDir()}
	settings := strings.Split(strings.TrimSpace(run(t, c.dir, nil, "go", "env", "GOPROXY", "GOMODCACHE")), "\n")
	inForce, cached := settings[0], filepath.Join(settings[1], "cache", "download")
	var paths []string
	for _, m := range ms {
		paths = append(paths, m.Path)
	}
	c.env = []string{
		"GOWORK=off",
		"GOFLAGS=-mod=mod -modcacherw -trimpath",
		"GOMODCACHE=" + t.TempDir(), // so that no run meets what an earlier one packed
		"GOPROXY=" + strings.Join([]string{fileURL(proxy), fileURL(cached), inForce}, ","),
		"GONOSUMDB=" + strings.Join(paths, ","),
		"GOPRIVATE=", "GONOPROXY=",
	}
	c.do(t, "go", "mod", "init", "example.com/stranger")
	return c
}

func fileURL(dir string) string {
	p := filepath.ToSlash(dir)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	return "file://" + p
}

func (c consumer) do(t *testing.T, name string, args ...string) string {
	t.Helper()
	return run(t, c.dir, c.env, name, args...)
}

// program writes the source of a main package into a folder of the consumer.
func (c consumer) program(t *testing.T, dir, source string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(c.dir, dir), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(c.dir, dir, "main.go"), source)
}

// links are the modules, the consumer's own aside, that a program of the consumer has in its binary.
func (c consumer) links(t *testing.T, dir string) []string {
	t.Helper()
	out := c.do(t, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "./"+dir)
	ms := strings.Fields(out)
	slices.Sort(ms)
	return slices.Compact(ms)
}

// run runs a command and returns what it printed.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errors.String())
	}
	return string(out)
}

func parse(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
