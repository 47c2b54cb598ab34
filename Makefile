# make help says what there is.
VENV ?= .venv
PYTHON = $(VENV)/bin/python
PYTEST = $(PYTHON) -m pytest

# What one process has compiled, hundreds of others need not.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help deps testdeps test long unit programs simulate lint format docs demo lab dashboards bench matrix lock clean

help:  ## what can be made
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

deps:  ## install what is needed: Debian packages and a virtual environment
	@contrib/install-deps $(VENV)

testdeps:
	@contrib/install-deps $(VENV) tests

test: testdeps lint  ## everything, real hypervisors included (root)
	@contrib/run-tests $(PYTHON)

long: testdeps  ## what takes too long for make test: more of the same kinds (root, nothing else running)
	PMIGD_TEST_ALL=1 PMIGD_QUIET=1 $(PYTEST) -m long

unit: deps  ## the tests within one process: seconds, after every change
	$(PYTEST) --numprocesses 2 -m "not programs" tests/unit

programs: deps  ## the tests that start programs or read terminals, and need no hypervisor and no root
	$(PYTEST) --numprocesses 2 -m "programs and not hypervisor and not systemd and not long"

simulate: deps  ## many seeds in the simulated world: SEED=1 COUNT=1000 MINUTES=0 JOBS=2
	@$(PYTHON) -m contrib.simulator --seed $(or $(SEED),1) --count $(or $(COUNT),1000) \
		--minutes $(or $(MINUTES),0) --jobs $(or $(JOBS),2)

lint: deps  ## style, types and the arrows between the packages
	$(VENV)/bin/ruff check --quiet
	$(VENV)/bin/ruff format --check --quiet
	$(VENV)/bin/mypy --no-error-summary
	$(VENV)/bin/lint-imports --no-logo | tail -n 3

format: deps  ## bring the code into shape
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

docs: deps  ## write again what is generated from the code
	$(PYTHON) -m contrib.docs

demo: deps  ## two hosts, a guest that writes memory, one live migration (root)
	@$(PYTHON) -m contrib.demo

lab: deps  ## a shell on a host of a two-host lab (root)
	@$(PYTHON) -m contrib.lab shell

dashboards:  ## pictures of the dashboards, on the data of real hosts (root)
	@contrib/install-deps $(VENV) dashboards
	@$(PYTHON) -m contrib.dashboards

bench: testdeps  ## paired measurements against virsh: a table, and JSON in build/ (root)
	@$(PYTHON) -m contrib.bench

matrix: testdeps  ## all that is compared with virsh, between libvirt versions too, noted (root)
	PMIGD_MATRIX=1 $(PYTEST) tests/matrix tests/lab_selftest/test_roots.py
	$(PYTHON) -m contrib.docs

COMPILE = $(VENV)/bin/uv pip compile --quiet --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --python $(PYTHON) pyproject.toml

# What runs on a host is a part of what it was tested with.
lock: deps  ## both locks of Python packages again from pyproject.toml
	$(PYTHON) -m pip --quiet install uv
	$(COMPILE) --group dev --output-file requirements-dev.lock
	$(COMPILE) --group build --constraint requirements-dev.lock --output-file requirements.lock

clean:  ## remove what make made
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
