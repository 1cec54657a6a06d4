# Everything happens in .venv; each target does its own set-up, once.
PYTHON ?= python3
BIN := .venv/bin

# Exact versions. As an environment variable it also stands in for a constraint in pip's own settings.
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export GRADIO_ANALYTICS_ENABLED := False

.PHONY: run test test-long lint bench soak push space-check clean

run: .venv/run.done  ## serve the page; ARGS="--config other.yaml --port 7861"
	$(BIN)/python app.py $(ARGS)

test: .venv/dev.done  ## all tests, on two cores; ARGS="-k image" for some
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-long: .venv/dev.done  ## slow tests: every architecture, the bundled weights, a Space's build, the soak test
	$(BIN)/python -m pytest -m long
	$(BIN)/python bundled/make.py --check
	$(BIN)/python benchmarks/space_check.py
	$(BIN)/python benchmarks/soak.py

lint: .venv/dev.done  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/dev.done  ## benchmark this app against its peers; ARGS=--quick
	$(BIN)/python benchmarks/bench.py $(ARGS)

soak: .venv/dev.done  ## stress test for a quarter of an hour; ARGS="--only storm" for one part
	$(BIN)/python benchmarks/soak.py $(ARGS)

push: .venv/run.done  ## put the page on the Hub as a Space; SPACE=me/my-lineup ARGS=--dry-run
	$(BIN)/python -m lineup push $(SPACE) $(ARGS)

space-check: .venv/dev.done  ## what a Space's builder does: resolve, install afresh, serve what a push uploads
	$(BIN)/python benchmarks/space_check.py $(ARGS)

clean:  ## forget what was installed
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lineup needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/run.done: requirements.txt constraints.txt | .venv/bin/python
	$(BIN)/pip install -q -r requirements.txt
	@touch $@

.venv/dev.done: requirements-dev.txt requirements-transformers.txt requirements-datasets.txt requirements-train.txt requirements-cluster.txt requirements.txt constraints.txt | .venv/bin/python
	$(BIN)/pip install -q -r requirements-dev.txt
	@touch $@ .venv/run.done
