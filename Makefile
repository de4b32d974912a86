# make run · make test · make bench · make lint
PYTHON  ?= python3
PROFILE ?= quick
BIN     := .venv/bin

.PHONY: run test bench lint notebooks

run: .venv/installed
	$(BIN)/python -m tll_utils run --profile $(PROFILE)

test: .venv/installed lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/test_notebooks.py
	$(BIN)/python -m pytest tests/test_notebooks.py

bench: .venv/installed
	$(BIN)/python benchmarks/run.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Re-executes the committed notebooks on the sample data.
notebooks: .venv/installed
	$(BIN)/python -m tll_utils run --profile quick --out build/notebooks
	cp build/notebooks/notebooks/*.ipynb notebooks/

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -r requirements.txt -c constraints.txt
	touch $@
