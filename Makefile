# make demo      installs into .venv and runs the demo
# make test      installs what the tests need as well; lint, types, the quick tests (six models)
#                fails as well where the tests run less than 97 % of the lines of recbole_gro
# make test-all  the same with every test (every model, Ray)
# make docs      installs what the documentation needs as well, and builds it into build/site
# make dist      builds sdist and wheel into dist/ and checks them as the package index does
# make clean     removes .venv and everything else that these made, except runs/
#
# Python is the first of 3.13, 3.12 and 3.11 that runs; another one: make PYTHON=/path/to/python. An existing .venv is
# used as it is. torch for the CPU alone, without gigabytes of CUDA:
# make TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Versions are those of constraints.txt, which the tests ran with; the newest of all: make CONSTRAINTS=

PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,$(shell $(name) -c 'print("$(name)")' 2>&-)))
CONSTRAINTS ?= constraints.txt
PIP_INSTALL = .venv/bin/python -m pip install --disable-pip-version-check $(CONSTRAINTS:%=-c %)
COVERAGE = --cov --cov-report=term:skip-covered --cov-fail-under=97
# The tests of a file stay together, in order: they share what is trained once
SIDE_BY_SIDE = --numprocesses=logical --maxprocesses=4 --dist=loadfile
PACKAGING = setup.cfg setup.py pyproject.toml constraints.txt

.PHONY: demo test test-all docs dist clean
.NOTPARALLEL:

demo: .venv/installed
	.venv/bin/python run_recbole_gro.py --model=BERT4Rec --config_files=gro.yaml

test: TESTS = -m "not every"
test test-all: .venv/installed-test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python -m pytest $(SIDE_BY_SIDE) $(COVERAGE) $(TESTS)

docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

dist: .venv/installed-test
	.venv/bin/python -m build
	.venv/bin/twine check --strict dist/*

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>&- || { \
		echo "recbole_gro needs Python 3.11 or later, '$(PYTHON)' is not one. Name one: make PYTHON=/path/to/python3.13" >&2; \
		exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
	$(if $(TORCH_INDEX),$(PIP_INSTALL) --index-url $(TORCH_INDEX) torch || { rm -rf .venv; exit 1; })

.venv/installed: $(PACKAGING) | .venv/bin/python
	$(PIP_INSTALL) -e .
	touch $@

.venv/installed-test: $(PACKAGING) | .venv/bin/python
	$(PIP_INSTALL) -e '.[test]'
	touch .venv/installed $@

.venv/installed-docs: $(PACKAGING) | .venv/bin/python
	$(PIP_INSTALL) -e '.[docs]'
	touch .venv/installed $@

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -prune -exec rm -rf {} +
