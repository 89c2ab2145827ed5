# Every target brings what it needs: see scripts/setup.sh. ARGS="..." is handed on to the program that a target runs.

SETUP = sh scripts/setup.sh
PYTHON = .venv/bin/python
# Everything that is Python and ours; mypy and pyright know theirs from pyproject.toml.
CODE = .

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format types docs bench wheels check clean
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv: uv and Python are found or fetched
	@$(SETUP)

demo: setup ## run the examples on two nodes of this machine
	@$(PYTHON) examples/demo.py $(ARGS)

test: setup ## run all tests
	@$(PYTHON) -m pytest $(ARGS)

lint: setup ## style, imports, layers, length of files
	@$(PYTHON) -m ruff check --quiet --output-format concise $(CODE)
	@$(PYTHON) -m ruff format --quiet --check $(CODE)
	@.venv/bin/lint-imports --no-logo
	@$(PYTHON) .ci/check_length.py

format: setup ## put the code into its form
	@$(PYTHON) -m ruff check --fix $(CODE)
	@$(PYTHON) -m ruff format $(CODE)

types: setup ## mypy on everything, pyright on what users and plugins see
	@$(PYTHON) -m mypy
	@for part in tests skyward-*/tests examples benchmarks; do \
	    ! ls $$part/*.py >/dev/null 2>&1 || { echo $$part: && $(PYTHON) -m mypy --allow-incomplete-defs --cache-dir .cache/mypy-tests $$part; } || exit 1; \
	done
	@$(PYTHON) -m basedpyright

docs: setup ## run the documentation's examples and check its links
	@$(PYTHON) -m pytest tests/test_docs.py $(ARGS)

bench: ## measure against the peers; brings them into an environment of their own
	@$(SETUP) --venv .cache/bench --group bench
	@.cache/bench/bin/python -m benchmarks $(ARGS)

wheels: setup ## build every package into dist/
	@uv=$$($(SETUP) --print-uv) && rm -rf dist && "$$uv" build --quiet --all-packages --no-sources --out-dir dist && ls dist

check: lint types test ## all that is asked of a change

clean: ## remove what the other targets made, except uv's cache
	rm -rf .venv .tools .cache dist build .hypothesis htmlcov .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
