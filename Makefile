# make run · test · lint · bench · fuzz · smoke · notebooks · docs
#      test-page · test-wheel · test-colab · test-jax · test-seeds
PYTHON  ?= python3
PROFILE ?= quick
BIN     := .venv/bin
NBVAL   := --nbval-lax --nbval-current-env
# Three on two cores: one is always waiting for a process that it has started.
SIDE_BY_SIDE := -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: run test lint bench fuzz smoke notebooks docs
.PHONY: test-page test-wheel test-colab test-jax test-seeds

# Executes the notebooks and ends with a leaderboard; what is unchanged is skipped.
run: .venv/installed
	$(BIN)/python -m tll_utils run --profile $(PROFILE)

# The notebooks are checked on the sample data, whatever data set the environment names.
test: export TLL_DATA_DIR =
test: export TLL_PROFILE = quick
test: export TLL_BACKBONES =
test: export TLL_WEIGHTS =
test: export TLL_SEED =
test: export TLL_SEEDS =
test: export TLL_SMOKE =
test: export TLL_OUT_DIR = build/test
test: export TQDM_DISABLE = 1
# The processes share the cores, and large arrays come in large pages of memory, as in a run.
test: export TF_NUM_INTRAOP_THREADS = 1
test: export OMP_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1
test: export GLIBC_TUNABLES = glibc.malloc.hugetlb=1
# Else each of dozens of processes would compile the package anew.
test: export PYTHONDONTWRITEBYTECODE =
test: .venv/installed lint
	rm -rf build/test  # else what an earlier version trained would be found and tested
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(NBVAL) tests notebooks

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/pair_pipeline.py
	$(BIN)/python benchmarks/head_training.py
	$(BIN)/python benchmarks/dual_step.py

# Thousands of damaged files, kills at random moments, hard times; renews the README's table.
fuzz: .venv/installed
	$(BIN)/python benchmarks/fuzz.py

# Every system of every notebook in the full profile, with sizes clipped and random weights.
smoke: export TLL_SMOKE = 1
smoke: export TLL_DATA_DIR =
smoke: export TLL_BACKBONES =
smoke: export TLL_SEEDS =
smoke: .venv/installed
	rm -rf build/smoke
	$(BIN)/python -m tll_utils run --profile full --weights random --out build/smoke
	$(BIN)/python .ci/smoke-rows build/smoke

# Re-executes the committed notebooks on the sample data.
notebooks: export TLL_DATA_DIR =
notebooks: export TLL_BACKBONES =
notebooks: .venv/installed
	rm -rf build/notebooks  # else they say what an earlier version left behind
	$(BIN)/python -m tll_utils run --profile quick --seed 0 --out build/notebooks
	cp build/notebooks/notebooks/*.ipynb notebooks/

# The page in a browser without a window. Get one first: apt-get install chromium
test-page: .venv/installed
	$(BIN)/pip install --quiet -e '.[page]' -c constraints.txt
	$(BIN)/python -m pytest -rs tests/tools/test_page.py

# Pages, notebooks and the API as a site that opens from disk: build/docs/index.html
docs: .venv/installed
	$(BIN)/pip install --quiet -e '.[docs]' -c constraints.txt
	$(BIN)/python .ci/docs build/docs

# Minutes each, and a download of the libraries: not part of make test.
test-wheel:
	PYTHON=$(PYTHON) PIP_ARGS="-c $(CURDIR)/constraints.txt" .ci/test-wheel

test-colab:
	PYTHON=$(PYTHON) .ci/test-versions colab

# Another seed, and the solutions of the exercises: does every sentence follow the numbers?
test-seeds: export TLL_DATA_DIR =
test-seeds: export TLL_BACKBONES =
test-seeds: export TLL_SEEDS =
test-seeds: .venv/installed
	rm -rf build/seed1
	$(BIN)/python .ci/test-seeds build/seed1

# Keras on JAX where TensorFlow is not installed; models go from each to the other.
test-jax:
	PYTHON=$(PYTHON) .ci/test-jax

.venv/installed: requirements.txt constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -r requirements.txt -c constraints.txt
	touch $@
