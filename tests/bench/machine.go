package main

import (
	"bufio"
	"os"
	"os/exec"
	"path"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// A machine is where and with what a run was made.
type machine struct {
	CPU      string
	Cores    int
	Procs    int // GOMAXPROCS
	OS       string
	Go       string
	Date     string
	Command  string
	versions map[string]string // by module
}

func thisMachine(args []string, now time.Time) machine {
	m := machine{
		CPU:      cpuModel(),
		Cores:    runtime.NumCPU(),
		Procs:    runtime.GOMAXPROCS(0),
		OS:       strings.TrimSpace(runtime.GOOS + "/" + runtime.GOARCH + " " + kernel()),
		Go:       runtime.Version(),
		Date:     now.UTC().Format(time.DateOnly),
		Command:  strings.Join(append([]string{"cd tests && go run ./bench"}, args...), " "),
		versions: map[string]string{},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			v := d.Version
			if strings.HasPrefix(d.Path, ours) { // a workspace member or a replaced one: its version says nothing
				v = "this tree"
			}
			m.versions[d.Path] = v
		}
	}
	return m
}

// ours begins the path of every module of this repository.
const ours = "github.com/halt-dev/halt/"

// version is that of a module in this binary.
func (m machine) version(module string) string {
	if v := m.versions[module]; v != "" {
		return v
	}
	return "?"
}

// withVersion is "module@version", the module without its host.
func (m machine) withVersion(module string) string {
	short := strings.TrimPrefix(module, "github.com/")
	if v := m.version(module); v != "this tree" {
		return short + "@" + v
	}
	return path.Join("halt", strings.TrimPrefix(module, ours)) + ", this tree"
}

func cpuModel() string {
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for sc := bufio.NewScanner(f); sc.Scan(); {
			if k, v, ok := strings.Cut(sc.Text(), ":"); ok && strings.TrimSpace(k) == "model name" {
				return strings.TrimSpace(v)
			}
		}
	}
	if out, err := exec.Command("sysctl", "-n", "machdep.cpu.brand_string").Output(); err == nil {
		return strings.TrimSpace(string(out))
	}
	return "unknown"
}

func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
