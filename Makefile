# Two commands: `make demo` runs the main job, `make test` passes the tests. Each does its own set-up; Python >= 3.11 is enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test check torture lock clean

demo: $(INSTALLED)
	$(BIN)/boss demo demo

test: check
	$(BIN)/pytest -n 3
	@$(BIN)/python tests/kafka.py --available || true

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# 5 million events and 200 kills: give it an hour. Add to it with TORTURE, for example TORTURE="--kafka --seed 2".
torture: $(INSTALLED)
	$(BIN)/python tests/torture.py $(TORTURE)

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "BOSS needs Python 3.11 or newer; found $$($(PYTHON) --version). Set PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# Needs uv; only for those who change the dependencies.
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header -o requirements.lock

clean:
	rm -rf $(VENV) demo
