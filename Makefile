# make help   print this
# make setup  set up, and start nothing; so does make alone
# make demo   set up, start everything on the embedded model, work on ten tasks, stop
# make up     set up, start everything and stay; UP_ARGS: other ports, without console or Prometheus
# make test   set up, run the tests that need neither Ray nor a browser nor much time
# make test-full  all tests, as .ci/run does
# make crash  kill runs at every point of their journal, on both databases: some 30 minutes (docs/runtime.md)
# make check  lint, types, import layers
# make types  types alone
# make format  apply the linter's fixes and the format
# make coverage  the tests without Ray and browser, and how much of the code they run
# make lock   write deploy/constraints.txt anew: the newest versions that pyproject.toml allows
# make train  train the embedded model's experts from nothing: some hours (docs/tuning.md)
# make bench  measure the engine, beside others where they are installed (docs/performance.md)
# make clean  remove what set-up and checks have made
#
# TORCH_INDEX=URL   package index for torch alone, e.g. PyTorch's index of CPU builds. Without it pip
#                   takes torch from its usual index, which on Linux may be a CUDA build of some 3 GB.
# UP_ARGS=...       options of up, such as UP_ARGS="--port 8100 --no-console": python -m agent up --help
# BENCH_ARGS=...    another measurement, or options of this one: python -m bench --help
# TEST_WORKERS=3    processes that run tests side by side (3 where nothing is said); 0: one test after the other
# DATA=FOLDER       the archives of the public sets that training reads
# PYTHON=python3.12 the interpreter for the virtual environment (3.11 or later)

PYTHON ?= python3
TORCH_INDEX ?=
TEST_WORKERS ?= 3
UP_ARGS ?=
BENCH_ARGS ?= engine --json .flightloop/bench/engine.json
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup help demo up test test-full crash check types coverage lock bench train format clean

setup: $(READY)

$(READY): pyproject.toml sdk/pyproject.toml deploy/setup.sh deploy/constraints.txt
	@PYTHON="$(PYTHON)" VENV="$(VENV)" TORCH_INDEX="$(TORCH_INDEX)" sh deploy/setup.sh
	@touch $@

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

demo: $(READY)
	@$(BIN)/python -m bench.demo

up: $(READY)
	@$(BIN)/python -m agent up $(UP_ARGS)

PYTEST := $(BIN)/python -m pytest
SIDE_BY_SIDE := -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

test: $(READY)
	@$(PYTEST) $(SIDE_BY_SIDE) -m "not ray and not browser and not slow" $(PYTEST_ARGS)

# Tests that start Ray share its ports and run one after the other.
test-full: $(READY)
	@failed=0; \
	$(PYTEST) $(SIDE_BY_SIDE) -m "not ray" $(PYTEST_ARGS) || failed=$$?; \
	$(PYTEST) -m ray $(PYTEST_ARGS) || failed=$$?; \
	exit $$failed

crash: $(READY)
	@$(BIN)/python -m pytest tests/acceptance/test_crashes.py --every-crash $(PYTEST_ARGS)

check: $(READY) types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(READY)
	@$(BIN)/mypy sdk/flightloop
	@$(BIN)/mypy --exclude '^sdk/' agent model tools guardrails observability dashboards bench examples

coverage: $(READY)
	@$(BIN)/python -m pytest -m "not ray and not browser" --cov --cov-report=term:skip-covered --cov-report=html:.flightloop/coverage $(PYTEST_ARGS)

lock: $(READY)
	@$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager -e "sdk[cli]" -e ".[dev]"
	@sh deploy/lock.sh $(BIN)/python > deploy/constraints.txt

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY)
	@$(BIN)/python -m bench $(BENCH_ARGS)

train: $(READY)
	@PYTHON=$(BIN)/python DATA="$(DATA)" sh deploy/train.sh

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
