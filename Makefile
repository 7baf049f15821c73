# Tocsin's targets; `make` alone lists them. Works with GNU make 3.81 (macOS) and newer.

SHELL := /bin/sh
BIN := .venv/bin
STAMP := .venv/tocsin-installed
NODE := tests/peers/node
NODE_STAMP := $(NODE)/node_modules/.package-lock.json
WORKERS ?= 2
PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

# Where there is a folder in memory, what is quick keeps its stores there: an fsync then costs nothing.
IN_MEMORY := $(if $(wildcard /dev/shm/.),TMPDIR=/dev/shm,)

.DEFAULT_GOAL := help
.PHONY: help setup dev test test-quick golden check soak bench lock notices

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make .venv from the lock; does nothing when it is up to date

$(STAMP): requirements/dev.txt pyproject.toml scripts/setup
	@scripts/setup
	@touch $@

$(NODE_STAMP): $(NODE)/package-lock.json scripts/setup-node $(STAMP)
	@scripts/setup-node
	@touch $@

dev: $(STAMP) ## start the sandbox (options: make dev ARGS="--port 9000 --data ./data")
	@exec $(BIN)/tocsin dev $(ARGS)

test: $(STAMP) $(NODE_STAMP) ## run all tests: SQLite, both official SDKs, crashes
	$(PYTEST) -n $(WORKERS) -m "not soak"

test-quick: $(STAMP) ## run what takes under a minute: SQLite only, no SDKs, no journeys, no crashes
	$(IN_MEMORY) $(PYTEST) -n $(WORKERS) -m "not soak and not sdk and not crash and not journey" --hypothesis-profile=quick

golden: $(STAMP) ## rewrite tests/golden from what the code emits now; read the diff
	$(PYTEST) -n 0 -m "not soak and not sdk and not crash" --golden

soak: $(STAMP) ## run the long tests (200 crashes and more)
	$(PYTEST) -n $(WORKERS) -m soak --timeout 7200

bench: $(STAMP) ## measure: messages a second, with the yardstick beside it
	$(BIN)/python -m bench $(ARGS)

check: $(STAMP) ## format, lint, types, layers, dead code, dependencies, licences
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m scripts.check_dead_code
	$(BIN)/deptry src
	$(BIN)/python -m scripts.check_licences
	$(BIN)/python -m scripts.make_compatibility --check
	$(BIN)/python -m scripts.make_settings --check

notices: $(STAMP) ## rewrite THIRD_PARTY_NOTICES from the installed packages
	$(BIN)/python -m scripts.check_licences --write

lock: $(STAMP) ## resolve the newest versions into requirements/ and the Node lock, with hashes
	$(COMPILE) pyproject.toml -o requirements/run.txt
	$(COMPILE) pyproject.toml --group dev -c requirements/run.txt -o requirements/dev.txt
	$(COMPILE) requirements/node.in -o requirements/node.txt
	cd $(NODE) && PATH="$(CURDIR)/$(BIN):$$PATH" npm install --package-lock-only --ignore-scripts --no-audit --no-fund
