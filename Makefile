# `make quickstart` and `make test` work on a fresh machine: they make .venv and install what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The versions that were tested; `make CONSTRAINTS= ...` lets pip choose others, such as a CUDA build of torch.
CONSTRAINTS ?= -c constraints.txt

# Debian's browser and its driver, for tests/browser, and the compose tool's own parser, for tests/test_compose.py.
BROWSER := chromium chromium-driver
COMPOSE := docker-compose
APT := env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends
ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)

.PHONY: help install quickstart test browser check unit long docs lock audit clean

help:
	@echo "make quickstart   install, then run a small sweep on this machine"
	@echo "make test         install, Debian's $(BROWSER) $(COMPOSE) too, then all checks and all tests that need no GPU"
	@echo "make check        ruff, mypy and the import contracts alone"
	@echo "make unit         the fast tests alone"
	@echo "make long         the tests of outages that last a minute and more"
	@echo "make docs         the documentation as a site, in site/"
	@echo "make lock         write requirements.lock anew from constraints.txt"
	@echo "make audit        look the locked versions up among known vulnerabilities; needs a network"
	@echo "make clean        remove .venv and caches; never runs/"

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; give PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV): about 2 GB, a few minutes"
	$(PIP) install --quiet $(CONSTRAINTS) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install --quiet $(CONSTRAINTS) -e '.[test]'
	@touch $@

install: $(VENV)/.installed

quickstart: $(VENV)/.installed
	$(BIN)/orchestrate sweep sweeps/quickstart.yaml

# Sweeps on Ray run two at a time, of two files: much of each is waiting, and a third would be one too many for two cores.
# In the order of their names, of which the first is the longest. What is shared by tests is made once for each process.
test: check browser
	$(BIN)/pytest -m "not gpu and not cluster" -n auto --dist worksteal
	$(BIN)/pytest -m "cluster and not gpu" -n 2 --dist loadfile --no-loadscope-reorder

browser:
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null && command -v docker-compose >/dev/null; \
		then exit 0; fi; \
	if command -v apt-get >/dev/null && $(ROOT) true 2>/dev/null; then \
		echo "installing $(BROWSER) $(COMPOSE)"; \
		log=$$({ $(ROOT) apt-get -qq update; \
			$(ROOT) $(APT) $(COMPOSE); $(ROOT) $(APT) $(BROWSER); } 2>&1) && exit 0; \
		echo "$$log" >&2; \
	fi; \
	echo "no browser: install $(BROWSER) (Debian's names), or tests/browser is skipped, and fails where CI is set" >&2

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.installed-test
	$(BIN)/pytest -m "not gpu and not cluster and not browser and not slow" -n auto --dist worksteal

long: $(VENV)/.installed-test
	LONG=1 $(BIN)/pytest tests/cluster -k "link_is_cut or hangs_in_mid_sweep"

docs: $(VENV)/.installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# In environments of their own: neither tool is needed for anything else.
TOOLS := .tools
LOCKED := --extra server --extra export -c constraints.txt --python-version 3.11

$(TOOLS)/bin/python:
	$(PYTHON) -m venv $(TOOLS)

lock: | $(TOOLS)/bin/python
	$(TOOLS)/bin/python -m pip install --quiet uv
	$(TOOLS)/bin/uv pip compile --quiet --no-config --generate-hashes --no-emit-index-url --no-header --no-annotate \
		$(LOCKED) pyproject.toml -o requirements.lock

audit: | $(TOOLS)/bin/python
	$(TOOLS)/bin/python -m pip install --quiet pip-audit
	$(TOOLS)/bin/pip-audit --no-deps --disable-pip --strict -r requirements.lock

clean:
	rm -rf $(VENV) $(TOOLS) site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
