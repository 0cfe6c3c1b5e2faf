PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-full test docs lower-bounds

demo: .venv/installed
	$(BIN)/videoadapt demo

demo-full: .venv/installed
	$(BIN)/videoadapt demo --full

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

lower-bounds: .venv/installed
	$(BIN)/python tests/lower_bounds.py

.venv/installed: setup.py
	@echo "Installing into .venv: about 6 GB, some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --editable '.[dev]'
	touch $@
