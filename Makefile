# `make demo`, `make poc` and `make test`. Each makes .venv by itself; a second run skips what is done.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo poc wheelhouse test lint clean

demo: .venv/.installed
	$(BIN)/fedgin demo

poc: .venv/.installed
	PYTHONPATH=. $(BIN)/python poc/rehearse.py

wheelhouse: .venv/.installed
	$(BIN)/python provisioning/packaging/wheelhouse.py build/wheelhouse

# Whole files to each of two workers, because many tests of a file share a federation that runs.
test: .venv/.tested lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: .venv/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy custom/fedgin tests benchmarks poc provisioning

clean:
	rm -rf .venv build custom/*.egg-info

.venv/.installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv || python3 -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

.venv/.tested: .venv/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@
