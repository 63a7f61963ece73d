# torpor's front door. `make` alone lists what there is; every target sets up what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Any Python from 3.11; the harness itself (dev/cluster) runs on it without further packages.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# For `make demo`: KEEP=1 leaves it running, ENGINE=vllm takes the real engine,
# CONTEXT=… IMAGE=… installs into a cluster of yours instead of the harness'.
KEEP ?=
ENGINE ?=
CONTEXT ?=
IMAGE ?=
# For `make bench`: NAME=wake, ARGS="--check".
NAME ?=
ARGS ?=
# For `make test` and `make test-fast`: more words for pytest, such as PYTEST="-k wake -x".
PYTEST ?=

.PHONY: help setup demo test test-fast bench lint format generate check-generated constraints cluster-up cluster-down clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## Make .venv with the pinned, hash-checked packages (seconds when nothing changed)

$(READY): constraints/dev.txt pyproject.toml | README.md LICENSE
	@PYTHON="$(PYTHON)" VENV="$(VENV)" .ci/setup
	@touch $@

demo: $(READY) ## See the whole product work on a real cluster (KEEP=1, ENGINE=vllm, CONTEXT=… IMAGE=…)
	@$(BIN)/python -m dev.demo $(if $(KEEP),--keep) $(if $(ENGINE),--engine $(ENGINE)) \
		$(if $(CONTEXT),--context $(CONTEXT)) $(if $(IMAGE),--image $(IMAGE))

test: test-fast ## Run every test; the cluster and the real engine are set up on the way
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m slow $(PYTEST)
	@$(BIN)/python -m pytest -m "cluster or engine" --durations 40 --durations-min 10 $(PYTEST)

test-fast: $(READY) ## Run what needs no cluster and no patience, on two processes
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not cluster and not engine and not slow" $(PYTEST)

bench: $(READY) ## Measure, e.g. NAME=wake ARGS=--check; prints a table and one JSON line last
	@if [ -z "$(NAME)" ]; then \
		echo "name a benchmark: make bench NAME=…, one of:"; \
		find bench -maxdepth 1 -name '[a-z]*.py' -printf '  %f\n' | sed 's/\.py$$//' | sort; exit 2; fi
	@$(BIN)/python -m bench.$(NAME) $(ARGS)

lint: $(READY) ## Check style, types and the import contracts
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(READY) ## Put the code into the formatter's shape
	$(BIN)/ruff check --fix --output-format concise .
	$(BIN)/ruff format .

generate: $(READY) ## Write crds/, the chart's copy of it and docs/spec.md anew from operator/torpor/api
	@$(BIN)/torpor crd --output crds
	@rm -f charts/torpor/crds/*.yaml && cp crds/*.yaml charts/torpor/crds/
	@$(BIN)/python -c 'from torpor.api.reference import generate; print(generate(), end="")' > docs/spec.md

check-generated: $(READY) ## Fail if a generated file differs from what generating it gives
	@$(BIN)/python -m pytest -q tests/house/test_generated_files.py tests/charts/test_chart_crds.py

constraints: ## Resolve constraints/*.txt anew (needs uv, which .venv has); UPGRADE=--upgrade takes newer versions
	@for part in "build constraints/build.in" "runtime pyproject.toml" \
		"dev pyproject.toml --group dev -c constraints/runtime.txt" \
		"../dev/clients/requirements dev/clients/requirements.in"; do \
		set -- $$part; name=$$1; shift; \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--no-annotate --custom-compile-command "make constraints" $(UPGRADE) "$$@" -o constraints/$$name.txt; \
		echo "constraints/$$name.txt: $$(grep -c '^[a-z].*==' constraints/$$name.txt) packages"; done

cluster-up: ## Start the local cluster and leave it running
	@$(PYTHON) -m dev.cluster up

cluster-down: ## Stop the local cluster and everything it started
	@$(PYTHON) -m dev.cluster down

clean: ## Remove .venv and every tool's cache in the checkout (not the cache of built programs)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
