# Every target works on a fresh machine: each builds what it stands on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-slow lint types check bench docs clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip==26.3"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(STAMP)
	$(BIN)/prostate-uda adapt --source phantom-3t --target phantom-1.5t --predictor-steps 100 --steps 150 \
		--out runs/demo $(if $(wildcard runs/demo/run.json),--resume)

test: $(STAMP)
	$(BIN)/python -m pytest

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

check: lint types test

bench: $(STAMP)
	$(BIN)/python benchmarks/phantom_adapt.py

docs: $(STAMP)  # the table of methods is made anew; the scripts that the documentation shows still run
	$(BIN)/python -m prostate_uda.recipes.method_pages
	$(BIN)/python -m pytest tests/docs

clean:
	rm -rf $(VENV) build dist *.egg-info
