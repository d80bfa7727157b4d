# `make demo` and `make test` need nothing but git, make and Python 3.11 or newer: the environment in
# .venv is made on first use. Another interpreter: make env PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: env demo test test-slow bench lint

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "pyro-msm needs Python 3.11 or newer and $(PYTHON) is " + sys.version.split()[0] + ": try make env PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev,baselines]"
	@touch $(STAMP)

demo: env
	$(BIN)/pyro-msm run kdv-1d --preset demo --out runs/demo --force

# One thread each, so that results do not depend on the number of cores; two processes. Other arguments
# for pytest, such as more workers: make test PYTEST="-n 4"
PYTEST ?= -n 2 --dist worksteal
test: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow" $(PYTEST)

test-slow: env
	$(BIN)/python -m pytest -q -m slow

bench: env
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
