# Everything starts here; `make` alone lists what there is. Needs Python 3.11 or newer, nothing else.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO ?=
PROCESSES ?= 2
PYTEST := $(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile --reruns 1
UV_FLAGS := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

.DEFAULT_GOAL := help
.PHONY: help install run demo test prove test-fast check format bench migrate env-example reference replay-histories node-clients lock clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv and install exactly what requirements.lock says

run: $(INSTALLED) ## Start everything on this machine: PostgreSQL, Temporal with its UI, api, router, worker (DEMO=1: with a shop)
	@exec $(BIN)/perennial up $(if $(DEMO),--demo)

demo: $(INSTALLED) ## Like run, with a small shop brought to life
	@exec $(BIN)/perennial up --demo

test: check ## Run everything CI runs (PROCESSES=2: tests side by side)
	$(PYTEST) tests/workflows --replay-always -q -m "not slow"
	$(PYTEST) -q

prove: $(INSTALLED) ## Run the long proofs at full size (CI runs them small or not at all); prints figures
	$(BIN)/pytest -q --full -rP tests/proofs
	$(BIN)/pytest -q -rP -m prove

test-fast: $(INSTALLED) ## Run the tests that take moments
	$(PYTEST) -q -m "not slow"

check: $(INSTALLED) ## Lint, formatting, types (strict), import directions
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code and mend what can be mended
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(INSTALLED) ## Measure against floors of the same run; prints a table of ratios
	$(BIN)/python -m benchmarks

migrate: $(INSTALLED) ## Bring the database of PERENNIAL_DATABASE_URL to the newest schema
	$(BIN)/perennial migrate

env-example: $(INSTALLED) ## Write .env.example anew from the settings
	$(BIN)/python -m perennial.env_example > .env.example

replay-histories: $(INSTALLED) ## Replay the saved histories of every released workflow version
	$(BIN)/pytest tests/histories

node-clients: ## Install the Node.js SDKs that tests send events with (needs npm)
	npm ci --prefix tests/clients --no-audit --no-fund

reference: $(INSTALLED) ## Write the tables of the reference pages anew from the models
	$(BIN)/python -m perennial.reference

lock: ## Resolve pyproject.toml into requirements.lock (maintainers; needs uv)
	uv pip compile pyproject.toml $(UV_FLAGS) --extra dev --extra build --output-file requirements.lock
	uv pip compile pyproject.toml $(UV_FLAGS) --constraint requirements.lock --output-file requirements-production.lock
	printf 'hatchling\nsetuptools\n' | \
		uv pip compile - $(UV_FLAGS) --constraint requirements.lock --output-file requirements-build.lock

clean: ## Remove the virtual environment and caches; the data in .perennial stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# The scripts of a virtual environment name the folder that they were made in: a checkout that was moved or copied
# installs anew. The stamp says where it was made.
MADE_IN := $(shell cat $(INSTALLED) 2>/dev/null)
ifneq ($(MADE_IN),)
ifneq ($(MADE_IN),$(CURDIR))
MOVED := yes
.PHONY: $(INSTALLED)
endif
endif

# The stamp is newer than the lock once everything in it is installed, so a second start installs nothing.
$(INSTALLED): requirements.lock requirements-build.lock pyproject.toml
	@$(if $(MOVED),rm -rf $(VENV))
	@./.ci/make-venv $(VENV)
	@echo '$(CURDIR)' > $@
