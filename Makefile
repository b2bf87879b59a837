# The two commands: `make demo` shows the main job, `make test` proves it. Both install what they need.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Libraries that Blender's wheel links, then what the tests start for real.
RENDERER_LIBS := libxrender1 libxxf86vm1 libxfixes3 libxi6 libxkbcommon0 libsm6 libgl1 libegl1 libgomp1
TEST_TOOLS := chromium git postgresql docker-compose
.PHONY: help install install-dev system-libs system-tools demo test nightly check lint types imports fast clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: system-libs $(VENV)/.installed ## install into .venv (pinned versions)

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed (the renderer's wheel is built for it): install it, or say PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "$(PYTHON) is not Python 3.11; say PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "this Python has no venv: apt-get install -y python3.11-venv"; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	@touch $@

system-libs:
	@tests/system.sh $(RENDERER_LIBS)

system-tools:
	@tests/system.sh $(RENDERER_LIBS) $(TEST_TOOLS)

demo: install ## the main job on bundled CAD models, then a report
	$(BIN)/dst demo

check: install lint types imports fast ## lint, types, import rule and the fast tests (minutes)

# Tests wait for servers, browsers and renderers more than they compute: two files at a time take little more than one.
TEST_FILES_AT_ONCE ?= 2

test: system-tools install lint types imports ## everything: lint, types, import rule, all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(TEST_FILES_AT_ONCE) --dist loadfile

nightly: system-tools install ## what takes too long for every time: stores and databases that go away
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m nightly

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports --no-cache

fast:
	$(BIN)/python -m pytest -q -m "not slow and not nightly"

clean: ## remove the environment (made data stays)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info
