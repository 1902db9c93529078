# The commands of this repository. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The repository's own workspace decides what is tested: not one around the clone, not GOWORK=off in a profile.
export GOWORK := $(CURDIR)/go.work

# For one package's tests, for one fuzz target, and for the load on one port.
TESTTIMEOUT ?= 10m
FUZZTIME    ?= 30s
LOADTIME    ?= 30s
# Passed on as they are, e.g. TESTFLAGS='-run TestBudget -v', BENCHFLAGS=-h or LOADFLAGS='-rate 1000'.
TESTFLAGS   ?=
BENCHFLAGS  ?=
LOADFLAGS   ?=

# Shell commands that print the modules, as folders relative to the root: those of the workspace, and those on disk.
# tools/ is on disk only: inside the workspace its versions would leak into every other module.
modules := go list -m -f '{{.Dir}}' | sed 's|^$(CURDIR)/||'
on_disk := find . -name .git -prune -o -name testdata -prune -o -name go.mod -not -path ./tools/go.mod -print | sed 's|^\./||; s|/go\.mod$$||'

.PHONY: help
help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: test
test: complete ## Test all modules under the race detector, after bringing what the suites need
	scripts/prerequisites.sh
	go test -race -shuffle=on -timeout=$(TESTTIMEOUT) $(TESTFLAGS) work
	@$(MAKE) --no-print-directory test-norace

# The race detector allocates, so allocation counts cannot be tested under it. This runs, once and without it, the tests
# of every file that counts allocations or is compiled only without the detector.
.PHONY: test-norace
test-norace:
	@files=$$(grep -rlE --include='*_test.go' '^//go:build .*!race|AllocsPerRun' $$($(modules)) || true); \
	names=$$({ grep -hoE '^func Test[A-Za-z0-9_]+' $$files /dev/null || true; } | cut -c 6- | sort -u | paste -s -d '|' -); \
	if [ -z "$$names" ]; then echo "no test needs a run without the race detector"; exit; fi; \
	echo "without the race detector: $$names"; \
	go test -timeout=$(TESTTIMEOUT) -run "^($$names)$$" $$(dirname $$files | sort -u | sed 's|^|./|')

.PHONY: test-alone
test-alone: ## Test each module without the workspace, as its users build it
	@scripts/prerequisites.sh; \
	dirs=$$($(on_disk)); export GOWORK=off; have=$$(go env GOVERSION); have=$${have#go}; \
	for dir in $$dirs; do \
		need=$$(awk '$$1 == "go" { print $$2 }' $$dir/go.mod); \
		if [ "$$(printf '%s\n' "$$need" "$$have" | sort -V | head -n 1)" != "$$need" ]; then \
			echo "== $$dir: skipped, it needs Go $$need and this is $$have"; continue; \
		fi; \
		echo "== $$dir"; go -C $$dir test -shuffle=on -timeout=$(TESTTIMEOUT) $(TESTFLAGS) ./...; \
	done

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (30s)
	@go test -list '^Fuzz' work | \
	awk '/^Fuzz/ { names[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print $$2, names[i]; n = 0 }' | \
	while read -r package name; do \
		echo "== $$package $$name"; \
		go test -run='^$$' -fuzz="^$$name\$$" -fuzztime=$(FUZZTIME) "$$package" </dev/null; \
	done

.PHONY: bench
bench: ## Measure beside peers and rewrite docs/benchmarks.md
	cd tests && go run ./bench -out ../docs/benchmarks.md $(BENCHFLAGS)

.PHONY: screenshots
screenshots: ## Make the pictures of the dashboard, docs/img (a good minute)
	scripts/prerequisites.sh
	cd tests && go run ./browser/screenshots -out ../docs/img

.PHONY: load
load: ## Put load on every port of the demo for LOADTIME (30s)
	cd tests && go test ./load -count=1 -timeout=$(TESTTIMEOUT) -v -run TestDemoUnderLoad -args -duration $(LOADTIME) $(LOADFLAGS)

# Never `go work sync`: it raises a module's requirements to whatever its siblings need.
.PHONY: tidy
tidy: ## Tidy every module
	@dirs=$$($(modules)); \
	for dir in $$dirs tools; do GOWORK=off go -C $$dir mod tidy; done

.PHONY: fmt
fmt: tools ## Format all modules
	@dirs=$$($(modules)); bin/golangci-lint fmt $$dirs

.PHONY: lint
lint: complete tools ## Check formatting, vet, modules and scripts, and run golangci-lint
	@dirs=$$($(modules)); \
	echo "gofmt"; found=$$(gofmt -l $$dirs); \
	if [ -n "$$found" ]; then echo "run make fmt; not formatted:"; echo "$$found"; exit 1; fi; \
	echo "go vet"; go vet work; \
	for dir in $$dirs tools; do \
		echo "go mod tidy -diff in $$dir"; \
		GOWORK=off go -C $$dir mod tidy -diff || { echo "run make tidy"; exit 1; }; \
	done; \
	echo "no toolchain line, no replace but for siblings"; \
	if grep -HE '^toolchain|=> [^.]' $$(printf '%s/go.mod ' $$dirs); then exit 1; fi; \
	echo "core requires nothing"; needs=$$(GOWORK=off go -C core list -m all | tail -n +2); \
	if [ -n "$$needs" ]; then echo "core is standard library only, but requires:"; echo "$$needs"; exit 1; fi; \
	if command -v shellcheck >/dev/null; then echo "shellcheck"; shellcheck .ci/run scripts/*.sh; \
	else echo "shellcheck is not installed: scripts are not checked"; fi; \
	echo "golangci-lint"; bin/golangci-lint run $$(printf './%s/... ' $$dirs)

# A module that go.work leaves out would never be tested, and nothing would say so.
.PHONY: complete
complete:
	@diff <($(on_disk) | LC_ALL=C sort) <($(modules) | LC_ALL=C sort) || \
	{ echo "go.work must use exactly the modules of this repository (< on disk only, > in go.work only)"; exit 1; }

# Built from source, because tools/go.sum then vouches for it. Rebuilt only when its version or Go's has changed.
.PHONY: tools
tools: ## Build the pinned tools of tools/go.mod into bin/ (minutes, the first time)
	@want=$$(GOWORK=off go -C tools list -m -f '{{.Version}}' github.com/golangci/golangci-lint/v2); \
	case "$$(bin/golangci-lint version 2>/dev/null || true)" in \
	*" version $${want#v} built with $$(go env GOVERSION) "*) ;; \
	*) echo "building golangci-lint $$want"; GOWORK=off GOBIN='$(CURDIR)/bin' go -C tools install tool ;; \
	esac
