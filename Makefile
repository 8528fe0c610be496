# `make help` lists the targets. Each one sets up what it needs; nothing has to be installed first
# but Python 3.11 (3.10 and 3.12 do too), make and git.

# The first of these that runs and has a supported version makes the environment.
PYTHON ?= python3.11 python3 python3.12 python3.10
VENV ?= .venv
# More arguments for pytest: make test PYTEST_ARGS="-x tests/network"
PYTEST_ARGS ?=
# How many processes share the tests; 0: this one runs them all.
TEST_PROCESSES ?= 2
# More arguments for the benchmarks: make bench BENCH_ARGS="--only demo --threads 1"
BENCH_ARGS ?=

BIN := $(VENV)/bin
# Touched when the set-up is complete, so that an interrupted one is taken up again.
STAMP := $(VENV)/.complete
INTEROP_STAMP := $(VENV)-interop/.complete
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all interop check format bench bench-quick docs wheel-test clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv with everything that trispike can use (torch and Lava too)

demo: $(STAMP)  ## take a trained network from its checkpoint to Lava and to joules
	@$(BIN)/trispike demo

test: $(STAMP)  ## run the tests, without the slow ones
	@OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -m "not slow" \
	    -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

test-all: $(STAMP)  ## run all tests
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

# On top of .venv, in an environment of its own, without the dependencies that these tools declare:
# see the file of requirements.
interop: $(INTEROP_STAMP)  ## test against Norse, sinabs, snnTorch, SpikingJelly, SANA-FE, NeuroBench and syops
	@PYTHONPATH=. $(VENV)-interop/bin/python -m pytest tests/export/nir/test_interop.py \
	    tests/export/adapters tests/examples/test_foreign_networks.py \
	    tests/benchmarks/test_eager.py tests/targets/sanafe \
	    tests/runtime/energy/test_tools.py tests/runtime/data/events/test_binning.py $(PYTEST_ARGS)

check: $(STAMP)  ## lint, formatting, types, import rules; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP)  ## mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# SpikingJelly lives in the environment of `make interop`; without it, its rows are missing.
bench: $(STAMP)  ## measure everything side by side, in less than 15 minutes
	-@$(MAKE) --no-print-directory $(INTEROP_STAMP)
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

bench-quick: $(STAMP)  ## the same in less than 3 minutes, rougher
	@$(BIN)/python -m benchmarks --quick $(BENCH_ARGS)

docs: $(STAMP)  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel-test: $(STAMP)  ## build the wheel and try it in a clean environment without torch and Lava
	@$(BIN)/python -m pytest tests/packaging $(PYTEST_ARGS)

clean:  ## remove what was built and cached; .venv stays
	rm -rf build dist site out .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find trispike tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(INTEROP_STAMP): $(STAMP) tests/export/nir/interop-requirements.txt
	@$(BIN)/python -m venv $(VENV)-interop
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	    $$($(VENV)-interop/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/trispike.pth
	@$(VENV)-interop/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --requirement tests/export/nir/interop-requirements.txt
	@touch $@

# lava-nc says it needs Python <3.11, but works up to 3.12: hence the second step, without its word.
# The lava extra has brought what it depends on.
$(STAMP): pyproject.toml constraints.txt
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    found=; for python in $(PYTHON); do \
	        if $$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' \
	            >/dev/null 2>&1; then found=$$python; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then \
	        echo "trispike needs Python 3.10, 3.11 or 3.12; none of these is one: $(PYTHON)" >&2; \
	        for python in $(PYTHON); do \
	            if version=$$($$python --version 2>&1); then echo "  $$python is $$version" >&2; fi; \
	        done; \
	        echo "Install Python 3.11, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
	        exit 1; \
	    fi; \
	    echo "== making $(VENV) with $$($$found --version)"; \
	    $$found -m venv $(VENV); \
	fi
	@echo "== installing trispike and what it can use (the first time: some minutes, torch is large)"
	@$(PIP) install --constraint constraints.txt --editable '.[all,dev]'
	@$(PIP) install --no-deps --ignore-requires-python --constraint constraints.txt lava-nc
	@touch $@
	@echo "== $(VENV) is ready"
