# One command each: make demo, test, lint, bench, fuzz, wheel, clean.
# Another interpreter or another place:  make test PYTHON=python3.13 VENV=/tmp/kairos-venv

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := test
.PHONY: demo test lint bench fuzz wheel clean

# uv installs in a sixth of the time; where it cannot be had, pip does the same work.
define install
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt uv \
	  || echo "uv could not be installed: going on with pip"
	@if $(BIN)/python -m uv --version >/dev/null 2>&1; then \
	  $(BIN)/python -m uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[$(1)]'; \
	else \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[$(1)]'; \
	fi
endef

demo: $(VENV)/.installed-cli
	@$(BIN)/python examples/dependency_audit.py --html build/audit.html --json build/audit.json

# pytest comes last, so that its closing line is the last word.
test: lint
	@$(BIN)/pytest -n 2

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pyright --pythonpath $(BIN)/python

# Without the peer that the proof is measured beside it runs as well, and says so.
bench: $(VENV)/.installed-dev
	-@$(MAKE) -s $(VENV)/.installed-bench
	@$(BIN)/python benchmarks/run.py

# The proof of contracts against brute force: minutes, where the tests take a small sample.
fuzz: $(VENV)/.installed-dev
	@$(BIN)/python tests/fuzz_contracts.py 100000
	@$(BIN)/python tests/fuzz_contracts.py 100000 --recursive
	@$(BIN)/python tests/fuzz_models.py 10000 --values 1000
	@$(BIN)/python tests/fuzz_workflows.py 2000

# By way of the source distribution: a build in place would pack what an older one left in build/.
wheel: $(VENV)/.installed-dev
	@$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "kairos needs Python 3.11 or later; name one:  make PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "$(PYTHON) comes without venv; on Debian:  apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# The stamps lie inside the environment, so that they go when it goes.
$(VENV)/.installed-cli: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,cli$(comma)demo)
	@touch $@

# dev holds all that cli does, so the demo after the tests installs nothing.
$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,dev$(comma)cli$(comma)demo)
	@touch $(VENV)/.installed-cli $@

$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,bench)
	@touch $@

comma := ,
