# Everything a developer or a reader runs; `make` alone lists it. Needs Python 3.11 or newer, make and git.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
UV := $(BIN)/uv --quiet
INSTALL := $(UV) pip install --python $(BIN)/python
LOCKED := --require-hashes --only-binary :all: -r
LOCK := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --upgrade \
        --no-emit-index-url --no-header --no-annotate
# A test that needs a Debian package says so by the marker `parts`; these are the packages.
PARTS := amtool:prometheus-alertmanager openssl:openssl promtool:prometheus shellcheck:shellcheck strace:strace \
         systemd-analyze:systemd unshare:util-linux zstd:zstd

# A process that may not keep its compiled modules spends two seconds more on every start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-parts test-ops check bench bench-quick bench-parts night wire docs lock clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON): expected Python 3.11 or newer, got $$($(PYTHON) -V 2>&1). Name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON): expected modules venv and ensurepip, got none. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@touch $@

# uv installs the locked wheels in a fifth of pip's time; it is itself a locked wheel.
.venv/.installed: .venv/.made requirements/uv.txt requirements/dev.txt pyproject.toml
	@echo "setting up .venv from requirements/dev.txt (wheels only, hashes checked)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(LOCKED) requirements/uv.txt
	@$(INSTALL) $(LOCKED) requirements/dev.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.fuzz: .venv/.installed requirements/fuzz.txt
	@$(INSTALL) $(LOCKED) requirements/fuzz.txt
	@touch $@

.venv/.docs: .venv/.installed requirements/docs.txt
	@$(INSTALL) $(LOCKED) requirements/docs.txt
	@touch $@

.venv/.ansible: .venv/.installed requirements/ansible.txt
	@$(INSTALL) $(LOCKED) requirements/ansible.txt
	@touch $@

.venv/.bench: .venv/.installed requirements/bench.txt
	@$(INSTALL) $(LOCKED) requirements/bench.txt
	@touch $@

setup: .venv/.installed  ## .venv with everything that is locked

demo: .venv/.installed  ## three tiers on this machine; ARGS="--once --persons 20000"
	@$(BIN)/jinbao demo $(ARGS)

test: .venv/.installed  ## all tests that need wheels only
	TMPDIR=$$(scripts/scratch.sh) $(BIN)/python -m pytest -n 2 --dist worksteal -m "not parts and not night" $(ARGS) tests

test-parts: .venv/.fuzz .venv/.ansible  ## tests that need Debian packages, roles and playbooks, a moment of fuzzing
	@missing=$$(for part in $(PARTS); do command -v $${part%%:*} >/dev/null || echo "$${part##*:}"; done); \
	if [ -n "$$missing" ]; then echo "missing; as root: apt-get install --no-install-recommends" $$missing >&2; exit 1; fi
	$(BIN)/python -m pytest -n 2 --dist worksteal -m parts $(ARGS) tests

test-ops: .venv/.ansible  ## as root: a province of six machines is deployed, upgraded, rolled back, without a network
	$(BIN)/python -m tests.ops

check: .venv/.installed  ## format, lint, types, import contracts, wire contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint proto
	@$(BIN)/python -m tests.house.measures

bench: .venv/.bench  ## a million persons over the line beside its peers, an hour; writes docs/performance.md
	$(BIN)/python -m benchmarks.line --crowd --tenfold --page docs/performance.md $(ARGS)

bench-quick: .venv/.bench  ## the same with 100 000 persons, three minutes; prints the ratios beside the goals
	$(BIN)/python -m benchmarks.line --quick $(ARGS)

bench-parts: .venv/.installed  ## single parts measured, printed; nothing is judged
	@for bench in benchmarks/bench_*.py; do $(BIN)/python "$$bench" || exit 1; done

night: .venv/.fuzz  ## long sweeps: thousands of seeds, hours of fuzzing
	$(BIN)/python -m pytest -n 2 --dist worksteal -m night --timeout 0 $(ARGS) tests

wire: .venv/.installed  ## regenerate node/jinbao/wire/gen from proto/
	scripts/make_wire.sh

docs: .venv/.docs  ## docs/_build/html/index.html; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

lock: .venv/.installed  ## renew requirements/*.txt from pyproject.toml
	$(LOCK) pyproject.toml --output-file requirements/runtime.txt
	$(LOCK) pyproject.toml --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt
	$(LOCK) --group fuzz --constraints requirements/dev.txt --output-file requirements/fuzz.txt
	$(LOCK) --group ansible --constraints requirements/dev.txt --output-file requirements/ansible.txt
	$(LOCK) --group bench --constraints requirements/dev.txt --output-file requirements/bench.txt
	$(LOCK) --group docs --constraints requirements/dev.txt --output-file requirements/docs.txt
	echo uv | $(LOCK) --constraints requirements/dev.txt --output-file requirements/uv.txt -

clean:  ## remove .venv, caches and what was built
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist docs/_build
	find node tests -name __pycache__ -type d -prune -exec rm -rf {} +
