# Every target sets up what it needs in .venv; only python3, make and (for system packages) root's apt-get are assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test unit lint bench constraints clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "python3 >= 3.11 with the venv module is needed: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --require-hashes -r constraints.txt
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## two paths race for the same events: live table, results, summary
	$(BIN)/experiment demo

test: $(STAMP)  ## everything: unit, process and soak tests
	$(BIN)/python -m pytest -m 'not lab'

unit: $(STAMP)  ## the fast part of the tests
	$(BIN)/python -m pytest -q -m 'not process and not soak and not lab'

lint: $(STAMP)  ## ruff, mypy strict, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## latency, throughput, memory and accuracy, with ratios against baselines of the same run
	$(BIN)/python -m benchmarks

constraints: $(STAMP)  ## re-resolve constraints.txt (versions and hashes only)
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --all-extras --group dev pyproject.toml -o constraints.txt

clean:  ## remove the virtual environment, caches and results
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache demo-results bench-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
