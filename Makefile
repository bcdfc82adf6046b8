# Everything happens inside $(VENV); nothing outside the repository is changed.
#
#   make demo     watch the bot trade against exchanges of its own (sets itself up)
#   make test     run the tests with coverage (sets itself up)
#   make check    style, types, import rules, security lint
#   make help     all targets

PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q
UV_COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup dev demo test processes check chaos chaos-nightly reliability bench judges audit lock clean

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

setup: $(VENV)/.core ## make the virtual environment with what running needs
	@:

dev: $(VENV)/.dev ## add what tests and checks need
	@:

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "perpbot needs Python 3.11 or newer, and '$(PYTHON)' is not that." \
			"Name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "setup: virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { \
		echo "The venv module of '$(PYTHON)' does not work" \
			"(Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@touch $@

$(VENV)/.core: requirements/core.txt pyproject.toml $(VENV)/.python
	@echo "setup: installing pinned packages (half a minute the first time)"
	@$(PIP) install --require-hashes -r requirements/core.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.core
	@echo "setup: installing test and check tools (half a minute the first time)"
	@$(PIP) install --require-hashes --no-build-isolation -r requirements/dev.txt
	@touch $@

demo: $(VENV)/.core ## trade against exchanges of our own: no keys, no network
	@$(BIN)/perpbot demo

test: $(VENV)/.dev ## run the tests and report coverage
	@$(BIN)/python -m pytest -q -n auto --dist worksteal --cov --cov-report=term \
		--ignore=tests/processes

processes: $(VENV)/.dev ## kill, stop and cut off real processes; they must come back
	@$(BIN)/python -m tests.processes

check: $(VENV)/.dev ## style, types, import rules, security lint
	@echo "check: ruff"
	@$(BIN)/ruff check -q
	@$(BIN)/ruff format -q --check
	@echo "check: mypy"
	@$(BIN)/mypy
	@echo "check: import rules"
	@$(BIN)/lint-imports --no-logo
	@echo "check: bandit"
	@$(BIN)/bandit -q -c pyproject.toml -r src
	@echo "check: committed secrets, known weaknesses of packages"
	@$(BIN)/python tests/audits/advisories.py & asked=$$!; \
		$(BIN)/python tests/audits/secret_scan.py; scanned=$$?; wait $$asked && exit $$scanned

CHAOS_SEEDS ?= 5000
CHAOS_WIRE_SEEDS ?= 300
# Seconds after which no further seed of tier A, or B, is begun; 0: run all.
CHAOS_WITHIN ?= 0
CHAOS_WIRE_WITHIN ?= 0

chaos: $(VENV)/.core ## break everything by seed; CHAOS_SEEDS=5000 of tier A, CHAOS_WIRE_SEEDS=300 of B
	@$(BIN)/perpbot chaos --tier B --seeds $(CHAOS_WIRE_SEEDS) --within $(CHAOS_WIRE_WITHIN)
	@$(BIN)/perpbot chaos --seeds $(CHAOS_SEEDS) --strict --within $(CHAOS_WITHIN)

chaos-nightly: $(VENV)/.dev ## many more seeds, every mutant, every installed Python
	@$(BIN)/perpbot chaos --seeds 200000 --from 1000001 --strict
	@$(BIN)/perpbot chaos --tier B --seeds 10000 --from 1000001
	@$(BIN)/perpbot chaos --mutant all --seeds 500
	@$(BIN)/python -m tests.simulation.pythons

reliability: $(VENV)/.dev ## prove what must hold, at length; writes docs/reliability.md
	@$(BIN)/python -m tests.reliability

bench: $(VENV)/.core ## measure the hot paths against plain library calls
	@$(BIN)/python -m tests.benchmarks

judges: $(VENV)/.dev ## drive our exchanges with clients that others wrote
	@$(BIN)/python tests/judges/run.py

audit: $(VENV)/.dev ## ask for known weaknesses of the pinned packages (needs a network)
	@$(BIN)/pip-audit --require-hashes --disable-pip -r requirements/core.txt

lock: $(VENV)/.core ## write requirements/*.txt anew from pyproject.toml
	@$(PIP) install uv
	@$(UV_COMPILE) --group build -o requirements/core.txt pyproject.toml
	@$(UV_COMPILE) --group dev -c requirements/core.txt -o requirements/dev.txt pyproject.toml
	@! grep -nE '://|^-' requirements/core.txt requirements/dev.txt

clean: ## remove build products, caches and reports (the environment and state/ stay)
	@rm -rf build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
