# Everything is installed once into .venv; changing pyproject.toml installs again.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench clean

demo: $(VENV)/installed
	$(BIN)/gramophone demo

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest --ignore=tests/watch/faults
	$(BIN)/python -m pytest -n 2 tests/watch/faults  # they mostly wait

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/gramophone bench

clean:
	rm -rf $(VENV) demo build .pytest_cache .mypy_cache .ruff_cache

$(VENV)/made:
	@if [ -z "$(PYTHON)" ]; then echo "no Python 3.11 or newer found: install one, or name it with make PYTHON=..." >&2; exit 2; fi
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian: apt install python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/made pyproject.toml
	@echo "installing Gramophone into $(VENV); PyTorch is large, the first time takes some minutes"
	$(BIN)/python -m pip install -qq --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed pyproject.toml
	$(BIN)/python -m pip install -qq --editable '.[dev]'
	@touch $@
