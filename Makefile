# Annals. `make help` lists what there is.

GO      ?= go
BENCH   ?= .
FUZZTIME ?= 1000x
ARGS    ?=

# The product is pure Go; only the race detector needs a C compiler.
export CGO_ENABLED = 0

# The program's packages and those of the tests are then the same, wherever the checkout is: each is compiled once.
export GOFLAGS := $(GOFLAGS) -trimpath

# One target at a time, also under -j: they share two cores and one server each.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help run build test race vet lint vulnerabilities fuzz-smoke bench bench-peers bench-guard bench-go bench-smoke ci clean postgres FORCE

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

run: postgres build ## install PostgreSQL if needed, build, and run annals serve (ARGS="--addr 127.0.0.1:9000")
# At a terminal the program gets a job of its own, so that Ctrl-C reaches it and
# not make, which would end with status 130 after a clean stop.
	@if [ -t 0 ]; then set -m; bin/annals serve $(ARGS); else exec bin/annals serve $(ARGS); fi

build: bin/annals ## build bin/annals

# Tests wait more than they compute, for servers above all: hence twice as many at a time as there are processors.
test: postgres ## run all tests, on one throwaway PostgreSQL
	bin/withpostgres $(GO) test -vet=off -parallel $$((2 * $$(nproc))) -timeout 20m ./...

# With -short, loops that it can find nothing in are short; what is built with !race is left to make test.
race: postgres ## run the tests under the race detector
	CGO_ENABLED=1 bin/withpostgres $(GO) test -race -short -vet=off -timeout 30m ./...

vet: ## run go vet
	$(GO) vet ./...

lint: vet ## check formatting, vet and staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

vulnerabilities: ## look dependencies up in the Go vulnerability database
	@GO="$(GO)" scripts/check-vulnerabilities

fuzz-smoke: postgres ## run every fuzz target FUZZTIME long (1000x; or 1m)
	GO="$(GO)" bin/withpostgres scripts/fuzz-smoke $(FUZZTIME)

bench: postgres build ## measure every path beside its baseline, with fsync on (ARGS="append --callers 512")
	bin/annals bench $(ARGS)

PEERS = cmd/annals/internal/bench/peers

bench-peers: postgres build ## measure appends beside other event stores on PostgreSQL (needs Node.js)
	npm ci --prefix $(PEERS) --ignore-scripts --no-audit --no-fund
	bin/annals bench peers --peers $(PEERS) $(ARGS)

bench-guard: postgres build ## measure briefly, and fail when a ratio is far below what has been reached
	bin/annals bench append project replay load http --rounds 3 --slice 300ms --callers 1,32,128 --events 50000 --guard

bench-go: postgres ## run the Go benchmarks (BENCH=regexp) on a durable PostgreSQL
	@packages=$$(scripts/packages-with Benchmark); \
	bin/withpostgres -fsync $(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $$packages

bench-smoke: postgres ## run each benchmark once
	@packages=$$(scripts/packages-with Benchmark); \
	bin/withpostgres $(GO) test -run '^$$' -short -bench . -benchtime 1x -vet=off $$packages

ci: lint vulnerabilities bench-smoke bench-guard fuzz-smoke race test ## all that a change must pass

clean: ## remove what was built
	rm -rf bin

postgres: bin/withpostgres
	@scripts/install-postgres bin/withpostgres

# The go command knows what is up to date.
bin/annals: FORCE
	$(GO) build -o $@ ./cmd/annals

bin/withpostgres: FORCE
	@$(GO) build -o $@ ./eventstore/pgtest/cmd/withpostgres
