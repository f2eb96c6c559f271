# Tutti: `make help` lists the targets. Everything needs Go, make, git and bash only; what needs more says so.
SHELL := bash
.SHELLFLAGS := -o pipefail -euc
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

# The library has no C code, and is built and tested as its users build it. Only the race detector needs a C compiler.
export CGO_ENABLED := 0

GO ?= go
PKG ?= ./...
RUN ?= .
FUZZTIME ?= 20s
BENCH ?= .
COUNT ?= 1
BASE ?=
ARGS ?=

# Tools are built once for each version of tools/go.sum and of Go; golangci-lint takes minutes the first time.
BIN := .bin/$(shell { $(GO) env GOVERSION; cat tools/go.mod tools/go.sum tools/protogen/*.go; } | cksum | cut -d' ' -f1)
OUT := .out

# Modules below the root that are checked and tested with it. They have what the library's users need not download.
NESTED := examples/pool
# $(call nested,COMMAND) runs a command in each of them, unless PKG names some packages only.
nested = if [[ '$(PKG)' == ./... ]]; then for m in $(NESTED); do (cd $$m && $(1)); done; fi

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z0-9-]+:.*## / { printf "  %-21s %s\n", $$1, $$2 }' Makefile

## ---- Build and run

.PHONY: build
build: ## Compile every package, and the programs into .out/
	$(GO) build ./...
	@mkdir -p $(OUT)
	@programs="$$($(GO) list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./...)"; \
	if [[ -n "$$programs" ]]; then $(GO) build -o $(OUT)/ $$programs; fi

.PHONY: demo
demo: ## Show in under a minute what this is for: 400 actors called at once, then a training run
	@mkdir -p $(OUT)
	@$(GO) build -o $(OUT)/ ./examples/quickstart ./examples/compare ./examples/train
	$(OUT)/quickstart
	$(OUT)/compare
	$(OUT)/train

.PHONY: demo-elastic
demo-elastic: ## Train, kill a node with -9 in mid-run, go on without it, and compare the accuracies; takes seconds
	@mkdir -p $(OUT)
	@$(GO) build -o $(OUT)/ ./examples/train
	timeout 60 $(OUT)/train -elastic

## ---- Test

.PHONY: test
test: ## Run all tests (PKG=./core/... for some, RUN=regexp)
	$(GO) test -run '$(RUN)' $(PKG)
	@if [[ '$(PKG)' == ./... ]]; then $(MAKE) interop; fi
	@command -v python3 >/dev/null || echo "test: NOT RUN: TestPythonReads of arrowstore needs python3, which is not on this machine"
	@[[ $$(id -u) == 0 ]] || echo "test: NOT RUN, unless this user may mount: the tests of arrowstore on small file systems"

# A module of its own, so that users of the store do not depend on a second Arrow. Its modules are downloaded once.
INTEROP := arrowstore/arrowipc/interop

.PHONY: interop
interop: ## Test what arrowipc writes and reads against a later release of Arrow
	$(GO) -C $(INTEROP) test -run '$(RUN)' ./...
	@$(call nested,$(GO) test -run '$(RUN)' ./...)

.PHONY: test-full
test-full: ## Run all tests without the cache, shuffled, then with invariants, then with the race detector
	$(GO) test -count=1 -shuffle=on $(PKG)
	$(GO) test -count=1 -tags invariants $(PKG)
	@$(MAKE) race

.PHONY: kill-matrix
kill-matrix: ## Kill and stop nodes in every operation, phase and role, and hold the survivors to their time; about 5 minutes
	TUTTI_KILL_MATRIX=full $(GO) test -count=1 -v -timeout 30m -run '^TestKillMatrix$$' ./collective

.PHONY: conformance-grid
conformance-grid: ## Run operations at all prime sizes up to 1,024 in one process; takes minutes
	TUTTI_GRID=full $(GO) test -count=1 -v -timeout 30m -run '^(TestManyMembersOfOneProcess|TestEveryRankMayBeTheRoot)$$' ./collective

.PHONY: group-400
group-400: ## Make a group of 400 node processes, and print how long it took and how many connections there are
	TUTTI_PROCESSES=400 $(GO) test -count=1 -v -timeout 10m -run '^TestGroupOfManyProcesses$$' ./collective

.PHONY: invariants
invariants: ## Run all tests with the checks of internal/invariants compiled in
	$(GO) test -tags invariants $(PKG)

.PHONY: race
race: ## Run all tests with the race detector; says so and stops there without a C compiler
	@cc="$$(CGO_ENABLED=1 $(GO) env CC)"; \
	if ! command -v $${cc%% *} >/dev/null; then \
		echo "race: NOT RUN: the race detector needs a C compiler, and $$cc is not on this machine"; exit 0; fi; \
	echo "CGO_ENABLED=1 $(GO) test -race $(PKG)"; \
	CGO_ENABLED=1 $(GO) test -race $(PKG)

# Not part of ci, whose machines have no emulator; on arm64 itself make test runs the same.
.PHONY: test-arm64
test-arm64: ## Run the tests of the reductions for arm64 under qemu-user; says so and stops there without it
	@command -v qemu-aarch64-static >/dev/null || { echo "test-arm64: NOT RUN: apt-get install qemu-user-static"; exit 0; }; \
	mkdir -p $(OUT); \
	GOOS=linux GOARCH=arm64 $(GO) test -c -o $(OUT)/kernel-arm64.test ./collective/kernel; \
	qemu-aarch64-static $(OUT)/kernel-arm64.test

.PHONY: fuzz
fuzz: ## Run every fuzz target of every package for FUZZTIME=20s each
	@GO='$(GO)' scripts/fuzz $(FUZZTIME) $(PKG)

.PHONY: bench
bench: $(BIN)/benchstat ## Run benchmarks (BENCH=regexp COUNT=10), into .out/bench.txt, compared with BASE=file if given
	@mkdir -p $(OUT)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKG) | tee $(OUT)/bench.txt
	$(BIN)/benchstat $(BASE) $(OUT)/bench.txt

# A benchmark has the machine to itself: not part of ci, and never beside a build or a test.
# $(call measure,NAME,PACKAGE,FLAGS) keeps the raw output with what it was measured on.
measure = mkdir -p $(OUT) bench/results; \
	{ echo "\# $$(date -u +%F), commit $$(git rev-parse --short HEAD), $$($(GO) env GOVERSION), $$(uname -sr), $$(nproc) cores"; \
	  echo "\# make bench-$(1) COUNT=$(COUNT)"; \
	  $(GO) test -run '^$$' -benchmem -count $(COUNT) -timeout 60m $(3) $(2); } | tee $(OUT)/$(1).txt; \
	mv $(OUT)/$(1).txt bench/results/$(1).txt

.PHONY: bench-batch
bench-batch: ## Measure the batch call against loops and plain gRPC, into bench/results/batch.txt
	@$(call measure,batch,./bench,-bench . -benchtime 50x)

# The floor belongs beside the tables. It comes last, for the head of the tables says whether the tree has changes.
.PHONY: bench-tables
bench-tables: ## Measure Tables 1 to 4 of the proposal, and the floor, into bench/results/; takes about 4 minutes
	@mkdir -p $(OUT) bench/results
	@$(GO) build -o $(OUT)/ ./bench/tables ./bench/floor
	@$(OUT)/tables
	@{ echo "# $$(date -u +%F), commit $$(git rev-parse --short HEAD), $$($(GO) env GOVERSION), $$(uname -sr), $$(nproc) cores"; \
	  echo "# floor -n 8,64,400"; $(OUT)/floor -n 8,64,400; } | tee $(OUT)/floor.txt
	@mv $(OUT)/floor.txt bench/results/floor.txt

.PHONY: bench-limits
bench-limits: ## Measure the batch call against what it must not exceed, into bench/results/limits.txt; takes 20 seconds
	@mkdir -p $(OUT) bench/results
	@$(GO) build -o $(OUT)/ ./bench/limits ./bench/floor
	@{ echo "# $$(date -u +%F), commit $$(git rev-parse --short HEAD), $$($(GO) env GOVERSION), $$(uname -sr), $$(nproc) cores"; \
	  echo "# make bench-limits"; $(OUT)/limits; $(OUT)/floor -n 8,400; } | tee $(OUT)/limits.txt
	@mv $(OUT)/limits.txt bench/results/limits.txt

.PHONY: bench-store
bench-store: ## Measure the object store against the machine's limits, into bench/results/store.txt
	@$(call measure,store,./arrowstore,-bench .)

.PHONY: bench-pool
bench-pool: ## Measure the pool against a hand-written loop, into bench/results/pool.txt and pool-slow.txt; takes 2 minutes
	@$(call measure,pool,./pool,-bench 'Map/|Submit|Loop' -benchtime 3s)
	@$(call measure,pool-slow,./pool,-bench MapOfSlowItems -benchtime 400000x)

.PHONY: bench-kernel
bench-kernel: ## Measure reductions against plain loops and the memory, into bench/results/kernel.txt; takes about half a minute
	@$(call measure,kernel,./collective/kernel,-bench . -benchtime 50ms)

.PHONY: bench-operations
bench-operations: ## Measure collectives alone, as Go benchmarks, into bench/results/operations.txt
	@$(call measure,operations,./collective,-bench .)

.PHONY: bench-inprocess
bench-inprocess: ## Measure 400 members of one process beside the time to read their buffers (x-read), into bench/results/inprocess.txt
	@$(call measure,inprocess,./collective,-bench 'InProcess/members=400' -benchtime 1s)

.PHONY: bench-lanes
bench-lanes: ## Measure an all-reduce between hosts beside bare sockets over loopback TCP, into bench/results/lanes.txt; takes a minute
	@mkdir -p $(OUT) bench/results
	@$(GO) build -o $(OUT)/ ./bench/lanes
	@{ echo "# $$(date -u +%F), commit $$(git rev-parse --short HEAD), $$($(GO) env GOVERSION), $$(uname -sr), $$(nproc) cores"; \
	  echo "# make bench-lanes"; $(OUT)/lanes; $(OUT)/lanes -members 8; } | tee $(OUT)/lanes.txt
	@mv $(OUT)/lanes.txt bench/results/lanes.txt

# Each library that is not installed is named with what to install. C and C++ compilers are needed for the peers only.
.PHONY: bench-collectives
bench-collectives: ## Measure collectives beside Gloo, Open MPI and MPICH (ARGS='-members 8' for a part), into bench/results/; about 10 minutes
	@mkdir -p $(OUT)
	@$(GO) build -o $(OUT)/ ./bench/collectives
	@if [[ -n '$(ARGS)' ]]; then $(OUT)/collectives $(ARGS); else \
		even=barrier,broadcast,allreduce,reduce-scatter,gather,scatter,alltoall,reduce,allgather; \
		$(OUT)/collectives -members 8,32,64,128 -operations $$even -sizes 4,64KiB,1MiB -buffers reused -seconds 0.03 -turns 2 -limit 8s; \
		$(OUT)/collectives -members 400 -operations $$even -sizes 4,64KiB -buffers reused -seconds 0.5 -rounds 1 -limit 60s; fi

# First come the operations that take little, so that what they leave of their time is there for the others. A run that is interrupted, here because
# its time is up, keeps what it has measured. 400 times 16 MiB that were never used before take the system longer than anything that is measured.
.PHONY: bench-collectives-all
bench-collectives-all: ## The same with all operations and sizes, and fresh buffers below 400 members; at most 30 minutes, of which 12 for 400
	@mkdir -p $(OUT)
	@$(GO) build -o $(OUT)/ ./bench/collectives
	@all=barrier,gather,scatter,gatherv,scatterv,broadcast,allgather,allgatherv,reduce,reduce-scatter,allreduce,alltoall,alltoallv; \
	while read -r n buffers limit most; do \
		timeout "$$most" $(OUT)/collectives -members "$$n" -libraries tutti-processes,tutti-shared,openmpi,gloo \
			-operations "$$all" -buffers "$$buffers" -seconds 0.03 -rounds 1 -limit "$$limit" $(ARGS) || echo "$$n members: ended before its time, with what was measured until then"; \
	done <<<$$'8 reused,fresh 20s 2m\n32 reused,fresh 45s 4m\n64 reused,fresh 60s 5m\n128 reused,fresh 90s 7m\n400 reused 165s 12m'

.PHONY: bench-schedule
bench-schedule: ## Measure every algorithm of three collectives beside what the cost model predicts, into bench/results/schedule.txt; takes about 2 minutes
	@mkdir -p $(OUT) bench/results
	@$(GO) build -o $(OUT)/ ./bench/ranking
	@{ echo "# $$(date -u +%F), commit $$(git rev-parse --short HEAD), $$($(GO) env GOVERSION), $$(uname -sr), $$(nproc) cores"; \
	  echo "# ranking"; $(OUT)/ranking; } | tee $(OUT)/schedule.txt
	@mv $(OUT)/schedule.txt bench/results/schedule.txt

.PHONY: cover
cover: ## Measure test coverage across packages; the page is .out/cover.html
	@mkdir -p $(OUT)
	$(GO) test -coverpkg=./... -coverprofile=$(OUT)/cover.out $(PKG)
	$(GO) tool cover -html=$(OUT)/cover.out -o $(OUT)/cover.html
	@$(GO) tool cover -func=$(OUT)/cover.out | tail -1

## ---- Check

.PHONY: vet
vet: ## Run go vet
	$(GO) vet ./...
	$(GO) vet -tags invariants ./...
	$(GO) -C $(INTEROP) vet ./...
	@$(call nested,$(GO) vet ./...)

.PHONY: lint
lint: $(BIN)/golangci-lint ## Run golangci-lint with .golangci.yml
	$(BIN)/golangci-lint run $(PKG)
	@$(call nested,$(CURDIR)/$(BIN)/golangci-lint run ./...)

# The tools of this Go cannot read the files named *_go127.go: lint and internal/rules leave them out, and this step stands for both.
NEXT := go1.27.0

.PHONY: forms
forms: ## Format, vet and test the method forms of Go 1.27 with its own tools; says so and stops there if they cannot be had
	@export GOTOOLCHAIN=$(NEXT); \
	if ! root="$$($(GO) env GOROOT 2>/dev/null)"; then \
		echo "forms: NOT RUN: $(NEXT) is not on this machine, and cannot be downloaded"; exit 0; fi; \
	files="$$(git ls-files --cached --others --exclude-standard -- '*_go127.go' '*_go127_test.go')"; \
	bad="$$("$$root/bin/gofmt" -l $$files)"; \
	[[ -z "$$bad" ]] || { echo "forms: not formatted: $$bad"; exit 1; }; \
	$(GO) vet ./core ./batch ./pool && $(GO) test -run '^TestMethodForms$$' ./pool

.PHONY: fmt
fmt: $(BIN)/golangci-lint ## Format as lint wants it
	$(BIN)/golangci-lint fmt

.PHONY: cross
cross: ## Compile and vet for the other systems: macOS and Linux on arm64, Linux on 386
	GOOS=darwin GOARCH=arm64 $(GO) build ./...
	GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	GOOS=linux GOARCH=arm64 $(GO) build ./...
	GOOS=linux GOARCH=arm64 $(GO) vet ./...
	GOOS=linux GOARCH=386 $(GO) build ./...
	GOOS=linux GOARCH=386 $(GO) vet ./...

.PHONY: vuln
vuln: $(BIN)/govulncheck ## Look for known vulnerabilities in what the code reaches; needs https://vuln.go.dev
	$(BIN)/govulncheck ./...

# An unreachable database is no finding about the code: say so and go on. Every other failure counts.
.PHONY: vuln-if-reachable
vuln-if-reachable: $(BIN)/govulncheck
	@mkdir -p $(OUT)
	@if $(BIN)/govulncheck ./... >$(OUT)/vuln.txt 2>&1; then cat $(OUT)/vuln.txt; \
	elif grep -q 'fetching vulnerabilities: ' $(OUT)/vuln.txt; then \
		echo "vuln: NOT RUN: the vulnerability database cannot be reached ($$(grep -m1 'fetching vulnerabilities: ' $(OUT)/vuln.txt))"; \
	else cat $(OUT)/vuln.txt; exit 1; fi

.PHONY: generate
generate: $(BIN)/protogen $(BIN)/protoc-gen-go $(BIN)/protoc-gen-go-grpc ## Generate Go code from the .proto files, and assembly
	@protos="$$(git ls-files --cached --others --exclude-standard -- '*.proto')"; \
	if [[ -n "$$protos" ]]; then \
		$(BIN)/protogen -plugin $(BIN)/protoc-gen-go -plugin $(BIN)/protoc-gen-go-grpc $$protos; fi
	$(GO) generate ./collective/kernel

# Sums of all files that git has or would add, so that uncommitted work is no obstacle.
tree = git ls-files --cached --others --exclude-standard | sort | while read -r f; do [[ ! -f "$$f" ]] || cksum "$$f"; done

.PHONY: check-clean
check-clean: ## Generate again and fail if that changes a file
	@mkdir -p $(OUT); $(tree) >$(OUT)/before.txt
	@$(MAKE) generate
	@$(tree) >$(OUT)/after.txt
	@diff $(OUT)/before.txt $(OUT)/after.txt || { echo "generated files are not current; run make generate and commit"; exit 1; }

.PHONY: tidy
tidy: ## Tidy the go.mod files
	$(GO) mod tidy
	$(GO) -C tools mod tidy
	$(GO) -C $(INTEROP) mod tidy
	@$(call nested,$(GO) mod tidy)

.PHONY: check-tidy
check-tidy:
	$(GO) mod tidy -diff
	@$(call nested,$(GO) mod tidy -diff)

.PHONY: ci
ci: ## Run exactly what continuous integration runs; every step runs, whatever failed before it
	@failed=; \
	for step in check-tidy check-clean vet lint forms cross test invariants race fuzz-smoke vuln-if-reachable; do \
		echo "== $$step"; SECONDS=0; $(MAKE) $$step || failed+=" $$step"; echo "== $$step: $${SECONDS} s"; \
	done; \
	[[ -z "$$failed" ]] || { echo "== ci FAILED:$$failed"; exit 1; }
	@echo "== ci passed"

.PHONY: fuzz-smoke
fuzz-smoke:
	@$(MAKE) fuzz FUZZTIME=3s

## ---- Tools, pinned in tools/go.mod

$(BIN)/%:
	@echo "building $* (once for this tools/go.sum)"
	@mkdir -p $(BIN)
	@$(GO) -C tools build -o $(CURDIR)/$@ $$($(GO) -C tools list -f '{{.ImportPath}}' tool | grep '/$*$$')
