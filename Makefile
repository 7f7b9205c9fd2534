# `make help` lists the targets. Everything lives in .venv; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := exp_dir/quick
BENCHMARKS := carracing data vision closed_loop dream carla_lite

export PYTHONUNBUFFERED := 1
# Threads that wait give their core away: on a busy machine torch is else several times slower.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup demo test check format bench help-texts clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(STAMP)  ## make .venv with the pinned dependencies

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "error: Python 3.11 to 3.13 is needed; say for example: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned dependencies into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: setup  ## the whole pipeline at its quick preset: 24 minutes on two cores
	@$(BIN)/python run_pipeline.py --preset quick --logs $(DEMO) $(ARGS)

test: setup  ## the test suite
	@$(BIN)/python -m pytest -n 2 --dist worksteal

check: setup  ## format, lint, types, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(MAKE) --no-print-directory test

format: setup  ## put the code into the standard format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup  ## the benchmarks, each against a named peer in the same run
	@for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || exit 1; done

help-texts: setup  ## write docs/help anew after a change of flags
	@$(BIN)/python -m tests.test_help

clean:  ## remove the environment; datasets and runs stay
	rm -rf $(VENV)
