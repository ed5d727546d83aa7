# What a contributor types. `make demo` and `make test` work from a clean clone: Python 3.11+ and make are enough.

PYTHON ?= python3
VENV := .venv
# Tests wait more than they compute: two at a time take two thirds of the time on two cores.
PROCESSES ?= 2
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# Trust what the machine trusts, as pip does: behind a company's proxy nothing else works.
export UV_SYSTEM_CERTS := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test check audit bench torture lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Augury needs Python 3.11 or newer; name one with make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# The runtime alone is enough for the demo; the development tools come on top.
$(VENV)/.runtime: $(BIN)/uv pyproject.toml uv.lock
	$(BIN)/uv sync --quiet --frozen --no-dev --inexact
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/uv sync --quiet --frozen --inexact --extra flower
	@touch $@

setup: $(VENV)/.dev ## a virtual environment with Augury and its development tools

demo: $(VENV)/.runtime ## a real bayesian search over a real training
	@PATH="$(abspath $(BIN)):$$PATH" sh examples/demo.sh

check: setup audit ## lint, types, import rules, what deploy/ holds, secrets, known vulnerabilities
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	deploy/check.sh "$(CURDIR)/$(BIN)"
	$(BIN)/python tools/secrets_check.py

audit: setup ## ask osv.dev for known vulnerabilities of the locked packages
	$(BIN)/python tools/audit.py

test: check ## everything that must hold
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile

bench: setup ## figures beside a floor or a peer
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m benchmarks

torture: setup ## searches while everything dies at random; TORTURE='--runs 300 --faults 200 ...'
	$(BIN)/python -m tests.torture $(TORTURE)

lock: setup ## resolve the dependencies anew
	$(BIN)/uv lock --upgrade

clean: ## remove what the targets above made
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist site
