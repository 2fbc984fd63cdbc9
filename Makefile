# What a person types. `make run` is the first thing a newcomer does, `make test` the second.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check

.PHONY: run test check format lock bench bench-quota bench-evidence bench-batches faults docs clean help clients

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.run ## set everything up and start the gateway with the local model
	@$(BIN)/potluck serve --demo

test: $(VENV)/.dev $(VENV)/.node ## set up what the tests need and run them all
	@$(BIN)/python -m potluck.local.weights --data-dir "$${POTLUCK_TEST_DATA:-$$HOME/.cache/potluck-tests}"
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest

check: $(VENV)/.dev ## format, lint, types, import rules, docs
	@$(BIN)/ruff format --check src tests bench scripts
	@$(BIN)/ruff check src tests bench scripts
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m scripts.reference --check

format: $(VENV)/.dev ## format and fix what can be fixed
	@$(BIN)/ruff format src tests bench scripts
	@$(BIN)/ruff check --fix src tests bench scripts

docs: $(VENV)/.dev ## write docs/reference anew from the code
	@$(BIN)/python -m scripts.reference

bench: $(VENV)/.dev ## Potluck beside its peers (installs them, takes under 10 minutes)
	@$(BIN)/python -m bench.gateway

bench-quota: $(VENV)/.dev ## who keeps the providers' limits, counted by the providers (MINUTES=10 of real time a system)
	@$(BIN)/python -m bench.quota --minutes $(or $(MINUTES),10)

bench-batches: $(VENV)/.dev ## 5,000 lines through three restarts and a kill -9, and what they cost interactive requests
	@$(BIN)/python -m bench.batches

bench-evidence: $(VENV)/.dev ## what each saving spares and what it costs in quality (DATA=folder)
	@$(BIN)/python -m bench.evidence $(DATA)

faults: $(VENV)/.dev ## every fault of docs/faults.md, fifty times, thirty-two at once
	@$(BIN)/python -m bench.faults

clients: $(VENV)/.dev ## real clients against a running gateway, each in an environment of its own (ONLY=openai-python,codex)
	@$(BIN)/python -m bench.clients --only "$(ONLY)"

lock: ## pin every dependency anew
	@$(BIN)/python -m scripts.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@echo "Setting up Python in $(VENV) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Potluck needs Python 3.11 or newer; set PYTHON=python3.12, say."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python requirements/run.lock pyproject.toml
	@echo "Installing Potluck …"
	@$(PIP) install --require-hashes -r requirements/run.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.lock
	@echo "Installing what the tests need …"
	@$(PIP) install --require-hashes -r requirements/dev.lock
	@touch $@

$(VENV)/.node: $(VENV)/.dev tests/clients/package-lock.json scripts/node_modules.py
	@echo "Installing the Node client the tests use …"
	@$(BIN)/python -m scripts.node_modules
	@test -e tests/clients/node_modules.unreachable || touch $@
