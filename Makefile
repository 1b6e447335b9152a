# Everything runs in .venv, and make peers and make bench in .venv-peers, which the first command
# makes: only Python 3.11+ and make are needed.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
DOCS_INSTALLED := .venv/docs-installed
PEERS := .venv-peers/bin
PEERS_INSTALLED := .venv-peers/installed
BENCH_INSTALLED := .venv-peers/bench-installed

.PHONY: help demo test peers bench gpu check dist docs format clean

help:
	@echo "make demo     install, extract examples/audio into demo/mels.h5, show what it holds"
	@echo "make test     the test suite, doctests included"
	@echo "make peers    random front ends against librosa, nnAudio, Keras, Kaldi, transformers, ..."
	@echo "make bench    how fast, beside librosa, lhotse, nnAudio, ...; all of it: BENCH=--full"
	@echo "make gpu      what is tested and measured on a CUDA device only"
	@echo "make check    format, lint, types, layers, stale documents"
	@echo "make docs     the documentation as a site, in site/; every link of it is checked"
	@echo "make dist     build sdist and wheel, and try the wheel in an environment of its own"
	@echo "make format   let ruff format and mend what it can"
	@echo "make clean    remove what these made"

demo: $(INSTALLED)
	@mkdir -p demo
	$(BIN)/melcli extract examples/audio -o demo/mels.h5
	$(BIN)/melcli info demo/mels.h5

test: $(INSTALLED)
	$(BIN)/python -m pytest -q

# More examples, other ones in every run: make peers PROFILE=soak
PROFILE ?= peers
peers: $(PEERS_INSTALLED)
	$(PEERS)/python -m pytest -q peers --hypothesis-profile=$(PROFILE)

# Other tables, files or sounds: make bench BENCH="--only kernel", BENCH="--audio FOLDER", ...
BENCH ?=
bench: $(BENCH_INSTALLED)
	$(PEERS)/python -m benchmarks.run $(BENCH)

# Where there is a CUDA device and a torch for it; PYTHON_GPU names a Python that has both.
PYTHON_GPU ?= $(BIN)/python
gpu: $(INSTALLED)
	$(PYTHON_GPU) -m pytest -q -m gpu
	$(PYTHON_GPU) -m benchmarks.gpu

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/melcli configs check $(notdir $(basename $(wildcard configs/*.toml)))

docs: $(DOCS_INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html; to search it: $(PYTHON) -m http.server --directory site"

dist: $(INSTALLED)
	$(BIN)/python tests/distribution.py

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-peers benchmarks/corpora demo build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# torch comes first and pinned, so that the open range of pyproject.toml installs no other build.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("melcli needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable .
	@touch $@

# Only the site asks for these, so make test does not wait for them.
$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	@touch $@

# What declares torch comes last and alone, so that it cannot bring another build of it.
$(PEERS_INSTALLED): pyproject.toml constraints.txt peers/requirements.txt peers/requirements-torch.txt
	$(PYTHON) -c 'import sys; sys.exit("melcli needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv-peers
	$(PEERS)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(PEERS)/python -m pip install --quiet --constraint constraints.txt torch
	$(PEERS)/python -m pip install --quiet --constraint constraints.txt --requirement peers/requirements.txt --group test --editable .
	$(PEERS)/python -m pip install --quiet --no-deps --requirement peers/requirements-torch.txt
	@touch $@

# Only the benchmarks ask for these, so make peers does not wait for them.
$(BENCH_INSTALLED): $(PEERS_INSTALLED) constraints.txt benchmarks/requirements.txt
	$(PEERS)/python -m pip install --quiet --constraint constraints.txt --requirement benchmarks/requirements.txt
	@touch $@
