# Needs nothing but Python 3.11+ with pip and venv, and a package index. Everything lands in .venv.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# Half of a test is waiting for processes and servers, so there are two of them for each core.
TESTS_AT_ONCE ?= $(shell $(PYTHON) -c 'import os; print(min(8, 2 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4))')

# A cache of its own where there is no usable home; uv's own place otherwise.
ifeq ($(shell test -n "$$HOME" && test -w "$$HOME" && echo yes),)
export UV_CACHE_DIR ?= $(CURDIR)/.venv/cache
endif
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE ?= copy
export UV_SYSTEM_CERTS ?= 1
# pyright comes as a Python wheel with its JavaScript inside; let it fetch nothing.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

UV := $(BIN)/python -m uv
GROUPS := build test check bench docs
STAMP := .venv/.stamp

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench soak docs lock clean

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## *' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP)  ## build .venv from requirements.lock; does nothing when up to date

$(STAMP): pyproject.toml requirements.lock
	@test -x $(BIN)/python || { echo "setup: create .venv with $(PYTHON)"; \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: $(PYTHON) must be 3.11 or newer; set PYTHON="; exit 1; }; \
	  $(PYTHON) -m venv .venv; }
	@$(BIN)/python -c 'import uv' 2>/dev/null || { echo "setup: install uv into .venv"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; }
	@echo "setup: install requirements.lock"
	@$(UV) pip install --quiet --python $(BIN)/python -r requirements.lock || { \
	  echo "setup: uv failed; once more with pip, which may know this machine's index and certificates"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock; }
	@echo "setup: install remit, editable"
	@$(UV) pip install --quiet --python $(BIN)/python --offline --no-deps --no-build-isolation -e .
	@touch $@
	@echo "setup: done"

demo: setup  ## the shop: everything remit does, with real processes (DATABASE_URL, STORE)
	@PYTHONPATH=examples:. $(BIN)/python -m shop.demo

test: setup  ## the tests, in parallel (ARGS="tests/servers -k proxy")
	$(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist worksteal -m "not soak" $(ARGS)

check: setup  ## style, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache --no-logo

bench: setup  ## the benchmarks, against remit's peers
	PYTHONPATH=. $(BIN)/python -m benchmarks $(ARGS)

soak: setup  ## the tests that run for minutes
	$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

docs: setup  ## the pages, into site/
	$(BIN)/mkdocs build --strict $(ARGS)

lock: $(BIN)/python  ## resolve requirements.lock anew (ARGS="--upgrade")
	$(UV) pip compile pyproject.toml --all-extras $(GROUPS:%=--group %) --universal --generate-hashes \
	  --no-emit-index-url --no-header --quiet --output-file requirements.lock $(ARGS)

$(BIN)/python:
	@$(MAKE) --no-print-directory setup

clean:  ## remove what was built, .venv included
	rm -rf .venv build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests devtools examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
