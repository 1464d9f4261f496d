# One entry point for every task. `make` lists them. CARGO_FLAGS goes to every cargo call (CI sets --locked).

CARGO       ?= cargo
CARGO_FLAGS ?=
CACHE       := $(or $(POLYNIC_CACHE),$(HOME)/.cache/polynic)
TOOLS       := $(CACHE)/tools
DENY        := $(TOOLS)/bin/cargo-deny
TARGET      := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench build dist setup-demo setup-test setup-bench setup-lint

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup-demo build ## build, then show one pod with two networks on this machine; needs neither root nor kubectl
	$(TARGET)/static/polynic-lab demo

test: setup-test ## run every tier of tests that this machine can run; says what it skips, and why
	scripts/test.sh $(CARGO_FLAGS)

lint: setup-lint $(DENY) ## format, clippy, tidy, licences and sources of dependencies, charts, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	$(CARGO) xtask tidy
	PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny --log-level error check licenses bans sources
	scripts/helm.sh lint && scripts/helm.sh check || test $$? -eq 3
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(CARGO_FLAGS) --workspace --no-deps --lib

bench: setup-bench build ## measure against an empty process and the reference plugins; writes target/bench/results.json
	POLYNIC_PROGRAM="$(abspath $(TARGET))/static/polynic" $(CARGO) run $(CARGO_FLAGS) --release -p polynic-bench

build: ## build the static programs into target/static
	scripts/build.sh $(CARGO_FLAGS)

dist: build ## pack the static programs, an OCI image and a node's archive, with checksums, into target/dist
	scripts/dist.sh

# Separate targets, so that a recipe sees what its setup has installed.
setup-demo setup-test setup-bench setup-lint: setup-%:
	@scripts/setup.sh $*

# Without optimisation: it is built once and runs for seconds.
$(DENY):
	$(CARGO) install cargo-deny --version 0.20.2 --locked --debug --root "$(TOOLS)"
