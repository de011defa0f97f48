# Everything works on a fresh machine with make and Python 3.11+: the first target that needs the environment makes it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
PARTICIPANTS_PORT ?= 8090
# One more than the cores that a small machine has: many tests wait for processes and the disk.
PYTEST_WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help run check test conformance simulate faults bench bench-peers bench-edge lint fmt type layers wheel clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(READY) ## the service with the examples, a worker and the systems they call, on loopback
	@export RETRACE_CONNECTION_BANK="$${RETRACE_CONNECTION_BANK:-sqlite:///examples/transfer/bank.db}"; \
	$(BIN)/python -m examples.participants --port $(PARTICIPANTS_PORT) & participants=$$!; \
	$(BIN)/retrace dev examples & service=$$!; \
	$(BIN)/retrace worker examples/quotes/worker.py --server http://127.0.0.1:$${RETRACE_PORT:-8080} & worker=$$!; \
	trap 'kill $$service $$worker $$participants 2>/dev/null; wait $$service $$worker $$participants 2>/dev/null || true' EXIT; \
	trap 'exit 130' INT; trap 'exit 143' TERM; \
	wait $$service

check: lint type layers test conformance wheel ## exactly what CI runs

test: $(READY) ## all tests but benchmarks and conformance
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal --ignore tests/benchmarks --ignore tests/conformance

conformance: $(READY) ## the test kit of the Serverless Workflow standard
	$(BIN)/python -m pytest tests/conformance

simulate: $(READY) ## lives of a service from many seeds, SEEDS=10000 unless said
	RETRACE_SIMULATE_SEEDS=$(or $(SEEDS),10000) $(BIN)/python -m pytest -n $(PYTEST_WORKERS) tests/simulation/test_seeds.py

faults: $(READY) ## sagas while everything breaks: the long form; with SEED or ROUNDS only stories drawn from seeds
	RETRACE_TEST_FAULTS=long RETRACE_TEST_FAULTS_SEED=$(or $(SEED),$(shell $(PYTHON) -c 'import random; print(random.randrange(10**6))')) \
	RETRACE_TEST_FAULTS_ROUNDS=$(or $(ROUNDS),10) \
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) $(if $(SEED)$(ROUNDS),tests/faults/test_random_faults.py,tests/faults)

bench: $(READY) $(VENV)/.bench ## measurements, written up in docs/performance.md; BENCH="--quick" and more
	$(BIN)/python -m tests.benchmarks $(BENCH)

bench-peers: $(READY) $(VENV)/.bench ## the same work on DBOS and Restate, side by side
	$(BIN)/python -m tests.benchmarks --peers $(BENCH)

bench-edge: $(READY) ## what one HTTP request costs at the edge; needs wrk
	$(BIN)/python -m tests.benchmarks.edge

lint: $(READY) ## style and likely mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

fmt: $(READY) ## format, and mend what can be mended
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

type: $(READY) ## types, strictly
	$(BIN)/mypy

layers: $(READY) ## domain <- application <- adapters
	$(BIN)/lint-imports

wheel: $(READY) ## build, install into a clean environment, look
	$(BIN)/python tests/wheel_check.py

clean: ## remove the environment and all caches
	rm -rf $(VENV) .peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist

# A newer pyproject.toml installs again; otherwise this costs nothing.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Retrace needs Python 3.11 or newer; say which: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --editable . --group dev
	@touch $@

# Only benchmarks draw.
$(VENV)/.bench: $(READY)
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --group bench
	@touch $@
