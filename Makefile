# Everything from a fresh machine: each target sets up what it needs, once.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo test lint check benchmark lock
.NOTPARALLEL:

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: .venv/.installed ## make .venv with the locked versions and kramar itself (PYTHON=python3.12 to choose)

# Newer than both files that say what belongs in it, so that a second call installs nothing.
.venv/.installed: pyproject.toml requirements/lock.txt
	@if [ ! -x $(BIN)/pip ]; then \
	  command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 to 3.14" >&2; exit 1; }; \
	  "$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 15) else "kramar needs Python 3.11 to 3.14, and $(PYTHON) is %d.%d: choose another, as in: make setup PYTHON=python3.12" % v)' && \
	  "$(PYTHON)" -m venv .venv; \
	fi
	$(BIN)/python -m pip install --disable-pip-version-check -c requirements/lock.txt -e '.[train,serve,dev]'
	@touch $@

demo: setup ## train on Fashion-MNIST in 4 minutes, or on your own photos: make demo DATA=FOLDER_OR_TABLE
	@set -e; \
	if [ -n "$$DATA" ]; then \
	  set -- "$$DATA" $${BUDGET:+--budget "$$BUDGET"}; \
	else \
	  $(BIN)/python demo/fashion_mnist.py; \
	  set -- .cache/demo/fashion-mnist/products.csv --out kramar-runs/demo --budget "$${BUDGET:-4m}"; \
	fi; \
	echo "kramar train $$*"; \
	$(BIN)/kramar train "$$@"

# Each worker loads torch (about 1 GB), so that many cores get no more than four.
WORKERS ?= -n auto --maxprocesses 4 --dist worksteal

test: setup ## run the tests (ARGS='tests/test_split.py -x' for some, WORKERS= for one process)
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

lint: setup ## run ruff, mypy and the import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## run lint, then the tests

benchmark: setup ## run the benchmarks
	$(BIN)/python -m benchmarks

lock: ## renew requirements/lock.txt with the newest versions that fit (Linux, Python 3.11)
	rm -rf .cache/lock
	"$(PYTHON)" -m venv .cache/lock
	.cache/lock/bin/python -m pip install --disable-pip-version-check '.[train,serve,cluster,dev]'
	@{ \
	  echo '# Every version that make setup installs, for base, train, serve, cluster and dev: constraints for pip.'; \
	  echo '# Renew it on Linux with Python 3.11, the oldest that kramar takes, by: make lock'; \
	  echo '# A line binds only where something asks for that package: cuda-*, nvidia-* and triton are for Linux.'; \
	  .cache/lock/bin/python -m pip freeze --all --exclude pip --exclude kramar; \
	} > .cache/lock/lock.txt
	mv .cache/lock/lock.txt requirements/lock.txt
	rm -rf .cache/lock
