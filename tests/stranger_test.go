package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const repository = "github.com/halt-dev/halt/"

// A stranger is somebody who wants one module of this repository: what they write, and what else that may link.
type stranger struct {
	Module  string   // its path below the repository
	Program string   // a main package that uses it
	Prints  string   // what that prints
	Beside  []string // modules of this repository that it may link too
	Needs   []string // packages that the program would import without Halt too; what they link is theirs
}

// strangers has a row for every module that can be had. A new adapter or store is a new row.
var strangers = []stranger{
	{
		Module: "core",
		Program: `package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/halthttp"
	"github.com/halt-dev/halt/core/memory"
)

func main() {
	limiter := halt.New(memory.New(nil), nil)
	policy := halt.Policy{Name: "api", Limit: 1, Window: time.Hour}
	for range 2 {
		d, err := limiter.Allow(context.Background(), policy, "somebody")
		fmt.Println(d.Allowed, err)
	}
	server := halthttp.Limit(limiter, policy, halthttp.ByIP())(http.NotFoundHandler())
	for range 2 {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		fmt.Println(w.Code)
	}
}
`,
		Prints: "true <nil>\nfalse <nil>\n404\n429\n",
	},
	{
		Module: "adapters/chi",
		Program: `package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/go-chi/chi/v5"
	_ "github.com/go-chi/chi/v5/middleware"

	haltchi "github.com/halt-dev/halt/adapters/chi"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

var policy = halt.Policy{Name: "api", Limit: 1, Window: time.Hour}

func main() {
	r := chi.NewRouter()
	r.Use(haltchi.Limit(halt.New(memory.New(nil), nil), policy, haltchi.ByIP()))
	r.Get("/", func(http.ResponseWriter, *http.Request) {})
	for range 2 {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		fmt.Println(w.Code)
	}
}
`,
		Prints: "200\n429\n",
		Beside: []string{"core"},
		Needs:  []string{"github.com/go-chi/chi/v5", "github.com/go-chi/chi/v5/middleware"},
	},
	{
		Module: "adapters/echo",
		Program: `package main

import (
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/labstack/echo/v4"

	haltecho "github.com/halt-dev/halt/adapters/echo"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

var policy = halt.Policy{Name: "api", Limit: 1, Window: time.Hour}

func main() {
	e := echo.New()
	e.Use(haltecho.Limit(halt.New(memory.New(nil), nil), policy, haltecho.ByIP()))
	e.GET("/", func(c echo.Context) error { return c.String(200, "ok") })
	for range 2 {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		fmt.Println(w.Code)
	}
}
`,
		Prints: "200\n429\n",
		Beside: []string{"core"},
		Needs:  []string{"github.com/labstack/echo/v4"},
	},
	{
		Module: "adapters/fiber",
		Program: `package main

import (
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/gofiber/fiber/v2"

	haltfiber "github.com/halt-dev/halt/adapters/fiber"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

var policy = halt.Policy{Name: "api", Limit: 1, Window: time.Hour}

func main() {
	app := fiber.New()
	key := haltfiber.By("client", func(*fiber.Ctx) string { return "somebody" }) // app.Test has no peer
	app.Use(haltfiber.Limit(halt.New(memory.New(nil), nil), policy, key))
	app.Get("/", func(c *fiber.Ctx) error { return c.SendString("ok") })
	for range 2 {
		w, err := app.Test(httptest.NewRequest("GET", "/", nil))
		if err != nil {
			panic(err)
		}
		fmt.Println(w.StatusCode)
	}
}
`,
		Prints: "200\n429\n",
		Beside: []string{"core"},
		Needs:  []string{"github.com/gofiber/fiber/v2"},
	},
	{
		Module: "adapters/gin",
		Program: `package main

import (
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/gin-gonic/gin"

	haltgin "github.com/halt-dev/halt/adapters/gin"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

func main() {
	gin.SetMode(gin.ReleaseMode)
	limiter := halt.New(memory.New(nil), nil)
	policy := halt.Policy{Name: "api", Limit: 1, Window: time.Hour}
	r := gin.New()
	r.Use(haltgin.Limit(limiter, policy, haltgin.ByIP()))
	r.GET("/", func(c *gin.Context) { c.String(200, "ok") })
	for range 2 {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		fmt.Println(w.Code)
	}
}
`,
		Prints: "200\n429\n",
		Beside: []string{"core"},
		Needs:  []string{"github.com/gin-gonic/gin"},
	},
	{
		Module: "adapters/gqlgen",
		Program: `package main

import (
	"fmt"
	"time"

	_ "github.com/99designs/gqlgen/graphql/handler"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

func main() {
	points := halt.Policy{Name: "points", Limit: 1, Window: time.Hour}
	extension := haltgqlgen.Limit(halt.New(memory.New(nil), nil), points, haltgqlgen.ByIP())
	fmt.Println(extension != nil)
}
`,
		Prints: "true\n",
		Beside: []string{"core"},
		Needs:  []string{"github.com/99designs/gqlgen/graphql/handler"},
	},
	{
		Module: "adapters/otel",
		Program: `package main

import (
	"context"
	"fmt"
	"time"

	haltotel "github.com/halt-dev/halt/adapters/otel"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

func main() {
	observer, err := haltotel.New(nil)
	if err != nil {
		panic(err)
	}
	limiter := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{observer}})
	for range 2 {
		d, err := limiter.Allow(context.Background(), halt.Policy{Name: "api", Limit: 1, Window: time.Hour}, "somebody")
		fmt.Println(d.Allowed, err)
	}
}
`,
		Prints: "true <nil>\nfalse <nil>\n",
		Beside: []string{"core"},
		Needs:  []string{"go.opentelemetry.io/otel"},
	},
	{
		Module: "stores/redis",
		Program: `package main

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	haltredis "github.com/halt-dev/halt/stores/redis"
	halt "github.com/halt-dev/halt/core"
)

func main() {
	store, err := haltredis.New(redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}), nil) // dials nothing yet
	fmt.Println(halt.New(store, nil) != nil, err)
}
`,
		Prints: "true <nil>\n",
		Beside: []string{"core"},
		Needs:  []string{"github.com/redis/go-redis/v9"},
	},
	{
		Module: "stores/postgres",
		Program: `package main

import (
	"context"
	"fmt"

	_ "github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"

	halt "github.com/halt-dev/halt/core"
	haltpostgres "github.com/halt-dev/halt/stores/postgres"
)

func main() {
	pool, err := pgxpool.New(context.Background(), "postgres://127.0.0.1:1/app") // dials nothing yet
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	store, err := haltpostgres.New(pool, nil)
	fmt.Println(halt.New(store, nil) != nil, err)
}
`,
		Prints: "true <nil>\n",
		Beside: []string{"core"},
		Needs:  []string{"github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/pgxpool", "github.com/jackc/pgx/v5/stdlib"},
	},
	{
		Module: "stores/mongodb",
		Program: `package main

import (
	"fmt"

	_ "go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	halt "github.com/halt-dev/halt/core"
	haltmongo "github.com/halt-dev/halt/stores/mongodb"
)

func main() {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://127.0.0.1:1")) // in the background
	if err != nil {
		panic(err)
	}
	store, err := haltmongo.New(client.Database("app").Collection("limits"), nil)
	fmt.Println(halt.New(store, nil) != nil, err)
}
`,
		Prints: "true <nil>\n",
		Beside: []string{"core"},
		Needs: []string{
			"go.mongodb.org/mongo-driver/v2/bson", "go.mongodb.org/mongo-driver/v2/mongo", "go.mongodb.org/mongo-driver/v2/mongo/options",
		},
	},
	{
		Module: "stores/dynamodb",
		Program: `package main

import (
	"fmt"

	_ "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	halt "github.com/halt-dev/halt/core"
	haltdynamo "github.com/halt-dev/halt/stores/dynamodb"
)

func main() {
	store, err := haltdynamo.New(dynamodb.New(dynamodb.Options{Region: "eu-central-1"}), "limits", nil) // asks nothing yet
	fmt.Println(halt.New(store, nil) != nil, err)
}
`,
		Prints: "true <nil>\n",
		Beside: []string{"core"},
		Needs:  []string{"github.com/aws/aws-sdk-go-v2/aws", "github.com/aws/aws-sdk-go-v2/service/dynamodb"},
	},
	{
		Module: "stores/memcached",
		Program: `package main

import (
	"fmt"

	halt "github.com/halt-dev/halt/core"
	haltmemcached "github.com/halt-dev/halt/stores/memcached"
)

func main() {
	store, err := haltmemcached.New([]string{"127.0.0.1:1"}, nil) // dials nothing yet
	fmt.Println(halt.New(store, nil) != nil, err)
}
`,
		Prints: "true <nil>\n",
		Beside: []string{"core"},
	},
}

// TestStranger is a stranger's `go get` of each module, from a proxy and outside of the workspace: the module resolves
// there, a program that uses it works, and links no module beyond those that it says.
func TestStranger(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs outside of the workspace")
	}
	const version = "v0.1.0"
	root := ".."
	var ms []module
	for _, m := range workspace(t, root) {
		if dir := strings.TrimPrefix(m.Path, repository); dir != "demo" && dir != "tests" {
			ms = append(ms, m)
		}
	}
	for _, m := range ms {
		if !slices.ContainsFunc(strangers, func(s stranger) bool { return repository+s.Module == m.Path }) {
			t.Errorf("%s has no row in the table of strangers", m.Path)
		}
	}
	proxy := fileProxy(t, root, ms, version)
	for _, s := range strangers {
		t.Run(s.Module, func(t *testing.T) {
			if !slices.ContainsFunc(ms, func(m module) bool { return repository+s.Module == m.Path }) {
				t.Fatal("not in the workspace")
			}
			visit(t, newConsumer(t, proxy, ms), s, repository, version)
		})
	}
}

// visit gets the module, runs the program, and compares what it links with what it may.
func visit(t *testing.T, c consumer, s stranger, repository, version string) {
	t.Helper()
	c.do(t, "go", "get", repository+s.Module+"@"+version)
	c.program(t, "with", s.Program)
	c.program(t, "without", importing(s.Needs))
	if got := c.do(t, "go", "run", "./with"); got != s.Prints {
		t.Errorf("the program printed %q, want %q", got, s.Prints)
	}
	without := c.links(t, "without")
	may := append([]string{repository + s.Module}, without...)
	for _, b := range s.Beside {
		may = append(may, repository+b)
	}
	links := c.links(t, "with")
	var b strings.Builder
	for _, m := range links {
		whose := "its own"
		switch {
		case slices.Contains(without, m):
			whose = "linked without Halt too"
		case !slices.Contains(may, m):
			whose = "UNWANTED"
			t.Errorf("%s links %s", s.Module, m)
		}
		fmt.Fprintf(&b, "  %-50s %s\n", m, whose)
	}
	if !slices.Contains(links, repository+s.Module) {
		t.Errorf("the program doesn't link %s", s.Module)
	}
	t.Logf("%s: a program that uses it links %d modules, %d without it\n%s", s.Module, len(links), len(without), b.String())
}

// importing is a program that imports the packages and does nothing.
func importing(packages []string) string {
	var b strings.Builder
	b.WriteString("package main\n\n")
	for _, p := range packages {
		fmt.Fprintf(&b, "import _ %q\n", p)
	}
	return b.String() + "\nfunc main() {}\n"
}

// The test above is only worth what its tools are: a workspace of toys, one of which brings along what it shouldn't.
func TestStrangerOnToys(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs outside of the workspace")
	}
	root := t.TempDir()
	file := func(name, content string) {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, name, content)
	}
	file("go.work", "go 1.25.0\n\nuse (\n\t./core\n\t./adapters/toy\n\t./core/nested\n)\n")
	file("LICENSE", "a license\n")
	file("core/go.mod", "module toys.test/core\n\ngo 1.25.0\n")
	file("core/core.go", "package core\n\nconst Name = \"core\"\n")
	file("core/nested/go.mod", "module toys.test/core/nested\n\ngo 1.25.0\n")
	file("core/nested/nested.go", "package nested\n\nconst Name = \"nested\"\n")
	file("adapters/toy/go.mod", `module toys.test/adapters/toy

go 1.25.0

require (
	toys.test/core v0.0.0
	toys.test/core/nested v0.0.0
)

replace (
	toys.test/core => ../../core
	toys.test/core/nested => ../../core/nested
)
`)
	file("adapters/toy/toy.go", `package toy

import (
	"toys.test/core"
	"toys.test/core/nested"
)

const Name = core.Name + "+" + nested.Name
`)
	const version, toys = "v0.1.0", "toys.test/"
	ms := workspace(t, root)
	if len(ms) != 3 {
		t.Fatalf("the workspace has 3 modules, got %v", ms)
	}
	proxy := fileProxy(t, root, ms, version)

	program := func(pkg, name string) string {
		return fmt.Sprintf("package main\n\nimport (\n\t\"fmt\"\n\n\t%q\n)\n\nfunc main() { fmt.Println(%s.Name) }\n", toys+pkg, name)
	}

	visit(t, newConsumer(t, proxy, ms), stranger{
		Module: "core", Program: program("core", "core"), Prints: "core\n",
	}, toys, version)
	visit(t, newConsumer(t, proxy, ms), stranger{
		Module: "adapters/toy", Program: program("adapters/toy", "toy"), Prints: "core+nested\n",
		Beside: []string{"core", "core/nested"},
	}, toys, version)

	c := newConsumer(t, proxy, ms)
	c.do(t, "go", "get", toys+"adapters/toy@"+version)
	c.program(t, "with", program("adapters/toy", "toy"))
	want := []string{"toys.test/adapters/toy", "toys.test/core", "toys.test/core/nested"}
	if got := c.links(t, "with"); !slices.Equal(got, want) {
		t.Errorf("the adapter links %v, want %v: an unwanted module would go unseen", got, want)
	}
	if got := c.do(t, "go", "list", "-m", "-f", "{{.Version}}", "toys.test/core"); got != version+"\n" {
		t.Errorf("the sibling came at %q, want %s", got, version)
	}
	dir := strings.TrimSpace(c.do(t, "go", "list", "-m", "-f", "{{.Dir}}", "toys.test/core"))
	if _, err := os.Stat(filepath.Join(dir, "nested")); !os.IsNotExist(err) {
		t.Errorf("the module that lies within core came with it: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "LICENSE")); err != nil {
		t.Errorf("the repository's license didn't come with the module: %v", err)
	}
}
