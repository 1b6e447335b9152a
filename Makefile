# Everything runs in .venv, which the first command makes: only Python 3.11+ and make are needed.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help demo test check format clean

help:
	@echo "make demo     install, extract examples/audio into demo/mels.h5, show what it holds"
	@echo "make test     the test suite, doctests included"
	@echo "make check    format, lint, types, layers, stale documents"
	@echo "make format   let ruff format and mend what it can"
	@echo "make clean    remove what these made"

demo: $(INSTALLED)
	@mkdir -p demo
	$(BIN)/melcli extract examples/audio -o demo/mels.h5
	$(BIN)/melcli info demo/mels.h5

test: $(INSTALLED)
	$(BIN)/python -m pytest -q

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/melcli configs check $(notdir $(basename $(wildcard configs/*.toml)))

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# torch comes first and pinned, so that the open range of pyproject.toml installs no other build.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("melcli needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable .
	@touch $@
