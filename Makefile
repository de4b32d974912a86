# make run · make test · make bench · make lint
PYTHON  ?= python3
PROFILE ?= quick
BIN     := .venv/bin

.PHONY: run test bench lint notebooks

run: .venv/installed
	$(BIN)/python -m tll_utils run --profile $(PROFILE)

# The notebooks are checked on the sample data, whatever data set the environment names.
test: export TLL_DATA_DIR =
test: export TLL_PROFILE = quick
test: export TLL_OUT_DIR = build/test
test: export TQDM_DISABLE = 1
test: .venv/installed lint
	rm -rf build/test  # else what an earlier version trained would be found and tested
	$(BIN)/python -m pytest -n 2 --dist loadfile
	$(BIN)/python -m pytest -x --nbval-lax --nbval-current-env notebooks

bench: .venv/installed
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/pair_pipeline.py
	$(BIN)/python benchmarks/head_training.py
	$(BIN)/python benchmarks/dual_step.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Re-executes the committed notebooks on the sample data.
notebooks: .venv/installed
	rm -rf build/notebooks
	$(BIN)/python -m tll_utils run --profile quick --out build/notebooks
	cp build/notebooks/notebooks/*.ipynb notebooks/

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -r requirements.txt -c constraints.txt
	touch $@
