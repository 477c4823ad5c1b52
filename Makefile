# `make demo` and `make test` need Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# One worker a core, one thread a worker: OpenMP threads that share cores spin.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto
.DEFAULT_GOAL := help

# What is in the virtual environment is remembered by one stamp per extra.
$(VENV)/base.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e ".[benchmark,datasets]"
	touch $@

$(VENV)/%.stamp: $(VENV)/base.stamp
	$(PIP) install -c constraints.txt -e ".[$*]"
	touch $@

.PHONY: help
help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

.PHONY: demo
demo: $(VENV)/base.stamp ## cluster and classify real data by several methods, print the tables
	$(BIN)/python -m mmfusion compare --task classification --data wine breast-cancer --out report/classification
	$(BIN)/python -m mmfusion compare --repeats 12 --out report/clustering

.PHONY: test
test: $(VENV)/test.stamp ## run the default test suite, doctests included
	$(PYTEST)

.PHONY: test-slow
test-slow: $(VENV)/test.stamp ## run the tests marked slow
	$(PYTEST) -m slow

.PHONY: fuzz
fuzz: $(VENV)/test.stamp ## give bad arguments to everything public, print what came of it
	OMP_NUM_THREADS=1 MPLBACKEND=agg $(BIN)/python -W ignore -m tests.fuzz

.PHONY: test-bounds
test-bounds: $(VENV)/test.stamp ## run the compiled kernels with bounds checks
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=build/numba-bounds $(PYTEST) tests/alignment/test_bounds.py

.PHONY: test-oldest
test-oldest: ## run the tests with the oldest versions that are allowed
	test -x $(VENV)-oldest/bin/python || $(PYTHON) -m venv $(VENV)-oldest
	$(PYTHON) .ci/oldest.py > $(VENV)-oldest/pins.txt
	grep '^torch==' constraints.txt >> $(VENV)-oldest/pins.txt
	$(VENV)-oldest/bin/python -m pip --quiet install -c $(VENV)-oldest/pins.txt -e ".[test]"
	OMP_NUM_THREADS=1 $(VENV)-oldest/bin/python -m pytest -n auto -W default

.PHONY: lint
lint: $(VENV)/test.stamp $(VENV)/lint.stamp ## ruff, mypy, codespell, numpydoc, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell $$(git ls-files)
	$(BIN)/python docs/validate_docstrings.py
	$(BIN)/lint-imports

.PHONY: docs
docs: $(VENV)/docs.stamp ## build the documentation in docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

.PHONY: check-package
check-package: ## build wheel and sdist, and use the wheel in a clean environment
	$(PYTHON) .ci/check_package.py

.PHONY: check
check: lint test ## what CI runs

.PHONY: clean
clean: ## remove what was built
	rm -rf build dist report docs/_build docs/gallery docs/reference/generated docs/development/generated
