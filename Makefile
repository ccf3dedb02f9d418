# `make demo`, `make poc` and `make test`. Each makes .venv by itself; a second run skips what is done.
# The first of these that is installed; `make demo PYTHON=python3.13` chooses another.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c "" 2> /dev/null && echo $$name && break; done)
BIN := .venv/bin

.PHONY: demo poc wheelhouse debian test test-augment test-quick coverage lint clean

demo: .venv/.installed
	$(BIN)/fedgin demo

poc: .venv/.installed
	PYTHONPATH=. $(BIN)/python poc/rehearse.py

wheelhouse: .venv/.installed
	$(BIN)/python provisioning/packaging/wheelhouse.py build/wheelhouse

# Programs of others that tests hold our files and our node against: a validator of DICOM, a sender, an archive.
DEBIAN := chromium dicom3tools dcmtk orthanc orthanc-dicomweb

debian:
	apt-get update --quiet=2
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends $(DEBIAN)

# tests/conftest.py gives whole files to a worker, the long ones first: many tests of a file share a federation that
# runs. Tests of real processes mostly wait, so there are more workers than cores. What they write is kept in memory where
# Linux offers 4 GB (a container often has 64 MB), and removed at the end: every file is flushed to the disk and most are
# removed again, at 2 ms each. Bytecode is kept, also where the shell says otherwise: some 500 processes start, and each
# would compile the package anew.
SCRATCH := $(shell test "$$(df --output=avail /dev/shm 2> /dev/null | tail -n 1)" -gt 4000000 2> /dev/null \
	&& echo /dev/shm || echo /tmp)
PYTEST := scratch=$$(mktemp -d -p $(SCRATCH)); trap 'rm -rf $$scratch' EXIT; \
	export TMPDIR=$$scratch OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=; \
	$(BIN)/python -m pytest --dist loadscope --no-loadscope-reorder --durations 20

test: .venv/.tested
	$(MAKE) --jobs 2 --output-sync lint test-augment
	$(PYTEST) --numprocesses 6 --ignore tests/augment

# Lines are counted where none may be missed; counting takes as long as the tests themselves.
test-augment: .venv/.tested
	$(PYTEST) --numprocesses 2 tests/augment --cov --cov-report=
	$(BIN)/coverage report --include '*/fedgin/augment/*' --fail-under 100

# For every edit: what starts no federation and takes seconds.
test-quick: .venv/.tested lint
	$(PYTEST) --numprocesses 2 -m "not flare and not slow"

# What no test without a federation runs.
coverage: .venv/.tested
	$(PYTEST) --numprocesses 2 --cov -m "not flare"

lint: .venv/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy custom/fedgin tests benchmarks poc provisioning

clean:
	rm -rf .venv build custom/*.egg-info

.venv/.installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

.venv/.tested: .venv/.installed requirements-dev.txt requirements-encryption.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt -r requirements-encryption.txt
	touch $@
