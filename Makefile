# Everything ends in one static file: $(BIN). `make help` lists what can be asked for.

TARGET ?= $(shell uname -m)-unknown-linux-musl
LISTEN ?= ws://127.0.0.1:8765
prefix ?= /usr/local
# More arguments: make test ARGS='--test it pty', make bench ARGS=--quick
ARGS ?=

TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
BIN := $(TARGET_DIR)/$(TARGET)/release/exec-server
# --locked, so that Cargo.lock decides; once the crates are there, cargo does not ask the network.
CARGO_ARGS := --locked --target $(TARGET)

# rustup's directory is missing from the PATH of a machine that has only just been set up, and of non-login shells.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
# A relative path would mean something else to the tests, which run elsewhere.
export EXEC_SERVER_BIN := $(BIN)
export BUBBLEWRAP_SOURCE
# Where tests note that this machine lacks what they need (tests/README.md).
SKIPPED := $(TARGET_DIR)/skipped
test: export EXEC_SERVER_TESTS_SKIPPED := $(SKIPPED)
# make keeps the job tokens of -j to itself, and cargo warns about tokens it is told of and cannot take.
unexport MAKEFLAGS MFLAGS

.PHONY: all build run test check check-costs bench interop conformance chaos soak fuzz cloud-demo install dist release release-test kubernetes-test setup setup-tools setup-bubblewrap clean help
.DEFAULT_GOAL := all

all: build ## build the binary (the default)

build: setup
	cargo build --release $(CARGO_ARGS)

# Commands get the server's environment: nothing of make's, and nothing of this file's, belongs there.
run: build ## build and serve at LISTEN, ws://127.0.0.1:8765 unless given
	exec env -u MAKELEVEL -u MAKEOVERRIDES -u LISTEN -u MAKE_TERMOUT -u MAKE_TERMERR -u EXEC_SERVER_BIN -u BUBBLEWRAP_SOURCE \
		$(BIN) --listen $(LISTEN)

test: build ## build and run every test, and list those that were skipped; ARGS goes to cargo test
	cargo build $(CARGO_ARGS) --example child
	@rm -f $(SKIPPED); status=0; \
	cargo test $(CARGO_ARGS) $(ARGS) || status=$$?; \
	tools/skipped.sh $(SKIPPED); exit $$status

check: setup ## check the format, and clippy with every warning an error
	cargo fmt --all --check
	cargo clippy $(CARGO_ARGS) --workspace --all-targets -- -D warnings

check-costs: setup ## count the system calls of eight scenarios, and compare with bench/COSTS.md
	cargo build $(CARGO_ARGS) --example child
	cargo test $(CARGO_ARGS) --test it -- costs::

bench: build ## measure, beside the reference programs where npm can bring them
	@if command -v npm >/dev/null && bench/reference.sh >$(TARGET_DIR)/reference.env; then \
	  while IFS= read -r line; do \
	    case $$line in REFERENCE_*=*) export "$$line" ;; esac; \
	  done <$(TARGET_DIR)/reference.env; \
	else \
	  echo 'bench: going on without the reference programs' >&2; \
	fi; \
	exec cargo bench $(CARGO_ARGS) --bench compare -- $(ARGS)

interop: build ## hold ours against the references, by messages and by their real client; ARGS picks
	cargo test $(CARGO_ARGS) --test interop -- $(ARGS)

chaos: build ## run and copy over a network that breaks at random; ARGS='--rounds 200 --seed 1'
	cargo build $(CARGO_ARGS) --example child
	cargo test $(CARGO_ARGS) --test chaos -- $(ARGS)

soak: build ## play sessions at random for 20 minutes, and find nothing left behind; ARGS='--minutes 60'
	cargo build $(CARGO_ARGS) --example child
	cargo test $(CARGO_ARGS) --test chaos -- --rounds 0 --sessions 0 --minutes 20 $(ARGS)

conformance: build ## hold it against suites of others: Autobahn, JSONTestSuite, toml-test, bubblewrap's
	cargo build $(CARGO_ARGS) --example child --example echo
	tests/conformance/run.sh $(BIN) $(TARGET_DIR)/$(TARGET)/debug/examples/echo
	cargo test $(CARGO_ARGS) --lib -- valid_document
	cargo test $(CARGO_ARGS) --test it -- sandbox::upstream

fuzz: setup ## search for inputs that break what src/fuzz.rs says, T seconds a target; TARGETS='path policy' picks
	T='$(or $(T),60)' tools/fuzz.sh

cloud-demo: build ## play a registration and a command through a rendezvous, all on this machine
	cargo build -q $(CARGO_ARGS) --example control-plane
	exec $(TARGET_DIR)/$(TARGET)/debug/examples/control-plane --demo $(BIN)

# RELEASE_TARGETS picks; BASE_URL is where install.sh will look for the files; OUT is the directory, dist.
RELEASE_TARGETS ?= x86_64-unknown-linux-musl
release: setup-bubblewrap ## make what a release publishes, in dist; BASE_URL=https://... is where it will be
	BASE_URL='$(BASE_URL)' OUT='$(or $(OUT),dist)' tools/release.sh $(RELEASE_TARGETS)

release-test: setup-bubblewrap ## make a release twice, in different places, and compare the bytes
	tools/release-test.sh

kubernetes-test: ## hold deploy/kubernetes against the published schemas
	tools/kubernetes-test.sh

# What is built is installed as it is: `make && sudo make install` needs no Rust in root's PATH.
install: $(if $(wildcard $(BIN)),,build) ## install into $(DESTDIR)$(prefix)/bin
	install -D -m 755 $(BIN) $(DESTDIR)$(prefix)/bin/exec-server

dist: setup ## make a source archive that builds with no network
	tools/dist.sh

setup: setup-tools setup-bubblewrap ## bring what this machine lacks; `build` does it too

setup-tools:
	@tools/setup.sh $(TARGET)

setup-bubblewrap:
	@vendor/bubblewrap/fetch.sh || echo 'set-up: going on without bubblewrap: the binary will have no bwrap inside' >&2

clean: ## remove what was built
	cargo clean
	rm -rf dist

help: ## say this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'
