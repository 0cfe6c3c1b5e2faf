PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-full test

demo: .venv/installed
	$(BIN)/python tools/demo.py

demo-full: .venv/installed
	$(BIN)/python tools/demo.py --full

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

.venv/installed: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
