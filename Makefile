# Everything runs in one virtual environment in the checkout; what is done already is skipped.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   ?= expllm-demo

# The CPU build of torch: where pip is pointed at local files they have it; elsewhere uv knows the index.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
TORCH := $(if $(UV_FIND_LINKS),,--torch-backend cpu)

.PHONY: help setup demo test check core wheel

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.installed  ## install everything into .venv

$(VENV)/.installed: pyproject.toml
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(TORCH) --editable '.[dev]'
	touch $@

demo: setup  ## label the bundled photographs and say where the report is
	$(BIN)/expllm demo $(DEMO)

wheel: setup  ## the package that jobs carry to a cluster: dist/*.whl
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

check: setup  ## formatting, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

core: setup  ## the core's tests alone: seconds
	$(BIN)/python -m pytest tests/test_*.py

test: check  ## every check and every test: what .ci/run calls
	$(BIN)/python -m pytest
