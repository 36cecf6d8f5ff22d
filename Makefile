# MarketPulse. `make run` and `make test` set up what they need; nothing is installed outside this
# directory. Works with GNU make 3.81 (macOS) and newer.

.DEFAULT_GOAL := help
.PHONY: help setup dev run quick again test test-ui test-trino mutants soak lint format bench bench-peers ui docs lock clean

# The Python that makes .venv; later the one inside it. Another: make PYTHON=python3.12 …
PYTHON = $(shell for p in .venv/bin/python python3 python3.13 python3.12 python3.11 python3.14 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)
BIN = .venv/bin
# Compiled modules are written beside their sources, all within this directory: without them, which many images
# ask for, every process of a pipeline compiles its thousand modules anew.
export PYTHONDONTWRITEBYTECODE =
# Test processes side by side, each with a broker of its own: they wait for a third of their time. 0 runs them in this one (for a debugger).
WORKERS = $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 4 ? 4 : n)))
PYTHON_CODE = src tests bench docs .ci requirements/install.py
LOCK = .venv/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links $(LOCK_ARGS)

help:
	@echo "make run     start everything and open the page   (ARGS=\"--for 30s --no-browser\" passes options)"
	@echo "make test    run every test                       (ARGS=\"-k replay\" passes options to pytest; WORKERS=0 for a debugger)"
	@echo "make quick   lint, types and the unit tests of what the working tree changes, in a minute"
	@echo "make again   run the most suspicious tests 100 times each on a busy machine  (TESTS=path::test TIMES=100 BUSY=3)"
	@echo "make lint    ruff and mypy"
	@echo "make mutants put real mistakes into a copy, and show which test catches each  (ARGS as in tests/seeded_faults)"
	@echo "make soak    kill the engine and the broker for hours, draw faults by 10 seeds for each of SEEDS, watch the memory of one, draw many examples (SEEDS=200 MINUTES=60; ARGS as for test)"
	@echo "make test-trino  Athena's dialect on a real Trino    (fetches it, 820 MB)"
	@echo "make bench   measure, side by side with the bare Kafka client"
	@echo "make bench-peers  the same work by other engines  (ARGS=\"--slow-trades 300000 csp\"; fetches them, 3.5 GB)"
	@echo "make setup   only make .venv and the pages"
	@echo "make ui      build the pages"
	@echo "make docs    write the pages that follow from the code"
	@echo "make lock    renew the lock files                 (LOCK_ARGS=--upgrade)"
	@echo "make clean   remove everything that make made; stored data stays"

define INSTALL
@test -n "$(PYTHON)" || { echo "MarketPulse needs Python 3.11 or newer, and found none on PATH. Install one, or name it: make PYTHON=/path/to/python3.12 $@" >&2; exit 1; }
@$(PYTHON) -I requirements/install.py
endef

setup:
	$(INSTALL) run

dev:
	$(INSTALL) dev

run: setup
	@$(BIN)/marketpulse up $(ARGS)

test: dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)
	@$(MAKE) --no-print-directory test-ui

quick: dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python .ci/quick.py $(ARGS)

TESTS = $$(cat tests/suspects.txt)
TIMES = 100
BUSY = 3

again: dev
	@for n in $$(seq $(BUSY)); do (while :; do :; done) & busy="$$busy $$!"; done; trap "kill $$busy" EXIT; \
		PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -n $(WORKERS) --dist load --again $(TIMES) -q $(ARGS) $(TESTS)

test-ui: dev
	@if test -f ui/package.json; then $(BIN)/python -I requirements/install.py npm run check; fi

test-trino: dev
	@.venv/uv/bin/uv pip install --quiet --require-hashes --target .venv/java-packages -r requirements/java.txt
	@PYTHONPATH=.venv/java-packages $(BIN)/pytest tests/trino -v $(ARGS)

mutants: dev
	@PYTHONPATH=tests $(BIN)/python .ci/mutants.py $(ARGS)

SEEDS = 100
MINUTES = 60

soak: dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" MARKETPULSE_SOAK_SEEDS=$(SEEDS) MARKETPULSE_SOAK_MINUTES=$(MINUTES) \
		MARKETPULSE_HYPOTHESIS=full MARKETPULSE_ORDER_TRADES=1000000 $(BIN)/pytest tests/soak tests/chaos tests/property \
		tests/conformance tests/integration/test_any_order.py -v $(ARGS)
	@PYTHONPATH=tests $(BIN)/python .ci/chaos_faults.py

lint: dev
	@$(BIN)/ruff check $(PYTHON_CODE)
	@$(BIN)/ruff format --check $(PYTHON_CODE)
	@$(BIN)/mypy src tests docs requirements/install.py
	@$(BIN)/python docs/check_links.py

format: dev
	@$(BIN)/ruff check --fix-only --quiet $(PYTHON_CODE)
	@$(BIN)/ruff format $(PYTHON_CODE)

bench: dev
	@$(BIN)/python -m bench $(ARGS)

bench-peers: dev
	@$(BIN)/python bench/compare_peers.py $(ARGS)

ui: setup

docs: dev
	@$(BIN)/python docs/write_settings.py
	@$(BIN)/python docs/write_influx_dashboard.py
	@$(BIN)/python docs/write_postgres_dashboard.py

lock: dev
	@$(LOCK) pyproject.toml --group dev --output-file requirements/dev.txt
	@$(LOCK) pyproject.toml --constraint requirements/dev.txt --output-file requirements/run.txt
	@for group in uv build java node spark; do \
		$(LOCK) --group pyproject.toml:$$group --output-file requirements/$$group.txt || exit 1; done

clean:
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist ui/node_modules ui/dist \
		tests/browser/chromium/node_modules src/marketpulse/web/static
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
