# make demo      installs into .venv and runs the demo
# make test      installs what the tests need as well; lint, types, the quick tests (six models)
#                fails as well where the tests run less than 97 % of the lines of recbole_gro
# make test-all  the same with every test (every model)
# make clean     removes .venv and everything else that the two made, except runs/
#
# Another Python: make PYTHON=/path/to/python3.11. An existing .venv is used as it is.

PYTHON ?= $(or $(shell command -v python3.11 2>/dev/null),python3)
PIP_INSTALL = .venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt
COVERAGE = --cov --cov-report=term:skip-covered --cov-fail-under=97
PACKAGING = setup.cfg pyproject.toml constraints.txt

.PHONY: demo test test-all clean
.NOTPARALLEL:

demo: .venv/installed
	.venv/bin/python run_recbole_gro.py --model=BERT4Rec --config_files=gro.yaml

test: TESTS = -m "not every"
test test-all: .venv/installed-test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python -m pytest $(COVERAGE) $(TESTS)

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "recbole_gro needs Python 3.11; $(PYTHON) is not one. Name one: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/installed: $(PACKAGING) | .venv/bin/python
	$(PIP_INSTALL) -e .
	touch $@

.venv/installed-test: $(PACKAGING) | .venv/bin/python
	$(PIP_INSTALL) -e '.[test]'
	touch .venv/installed $@

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -prune -exec rm -rf {} +
