# Two commands do everything: `make serve` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help setup serve test lint check demo bench soak e2e crash screenshots man clean

help:
	@echo 'make serve   install into .venv and run the receiver on its embedded defaults (port 2222, spool in ./var)'
	@echo 'make test    install what the tests need and run every check'
	@echo 'make demo    receive a real dump from the system'"'"'s ssh, show the listing and the report, stop'
	@echo 'make bench   side by side with the peers, in one run: JSON and a table'
	@echo 'make soak    the long fault and load runs;  make e2e   real kernel crashes in QEMU'
	@echo 'make screenshots   the pages as they look, into docs/screenshots/;  make man   docs/man anew'
	@echo 'make setup   only the .venv;  make lint   only the static checks;  make clean'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'kdump-net needs Python 3.11 or later; say which with make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; \
	  else echo 'Python cannot make a venv here; install python3-venv' >&2; exit 1; fi; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.receiver: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.receiver

setup: $(VENV)/.receiver

serve: setup
	$(BIN)/kdump-receiver --root var serve --listen :2222

demo: setup
	./deploy/demo.sh

bench: $(VENV)/.test
	./tests/packages.sh
	$(BIN)/python -m tests.bench.bench_receiver $(BENCH)
	$(BIN)/python -m tests.bench.bench_dump
	$(BIN)/python -m tests.bench.bench_agent
	$(BIN)/python -m tests.bench.bench_fence
	-[ "$$(id -u)" != 0 ] || ./tests/packages.sh e2e
	$(BIN)/python -m tests.bench.bench_sender --least

soak: $(VENV)/.test
	./tests/packages.sh
	$(BIN)/python -m pytest -m slow --ignore=tests/e2e

e2e: $(VENV)/.test
	./tests/packages.sh e2e
	$(BIN)/python -m pytest -m slow tests/e2e $(E2E)

# one kernel crash, from the panic to the receiver's report
crash: $(VENV)/.test
	./tests/packages.sh crash
	$(BIN)/python -m pytest -m slow tests/e2e/test_crash.py -k three_programs

screenshots: $(VENV)/.test
	./tests/packages.sh
	$(BIN)/python -m tests.rig.screenshots

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: $(VENV)/.test
	./tests/packages.sh
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -m 'not slow'

man: $(VENV)/.receiver
	$(BIN)/python docs/man/make.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
