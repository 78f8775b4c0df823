# Everything runs from a clean clone: each target sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin
SWEEP ?= sweeps/quickstart.yaml

.DEFAULT_GOAL := help
.PHONY: help sweep test test-fast chaos lint ui ablation mnist claims words genetic reproductions figures bench bench-gpu scaling notebooks screenshots docs clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

# Two stamps, for what runs need and for the rest; each is made again when the pins or the project's metadata change.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0

.venv/.core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than Python 3.11: run make PYTHON=python3.11" >&2; exit 2; }
	@echo "Setting up .venv (once, a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(INSTALL) --editable .
	@touch $@

.venv/.dev: .venv/.core
	@echo "Adding to .venv what tests, documentation, notebooks, clusters and trainers need (once)"
	@$(INSTALL) --editable '.[cluster,dev,notebooks,docs,trainers]'
	@touch $@

sweep: .venv/.core  ## run the quick-start sweep (or SWEEP=sweeps/NAME.yaml BUDGET=smoke) and write its report
	@$(BIN)/rnnlab sweep $(SWEEP) $(if $(BUDGET),--budget $(BUDGET))

# Dozens of processes start: compiled modules are kept, whatever the shell says.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PARALLEL = -n 3 --dist loadfile --no-loadscope-reorder

test: .venv/.dev  ## run the whole test suite
	@$(PYTEST) $(PARALLEL) --durations=25

test-fast: .venv/.dev  ## run the tests that are not marked slow (less than two minutes)
	@$(PYTEST) $(PARALLEL) -m 'not long and not slow'

chaos: .venv/.dev  ## run what takes minutes: a sweep killed fifty times, servers and nodes lost (about 40 minutes)
	@$(PYTEST) -m long

lint: .venv/.dev  ## check style, types and which package imports which
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright && \
		$(BIN)/lint-imports --no-cache --no-logo

ui: .venv/.core  ## open the MLflow dashboard on 127.0.0.1:5000
	@$(BIN)/rnnlab ui

ablation: .venv/.core  ## run the ablation of record (three hours; Ctrl-C and go on) and write docs/results/ablation
	@$(BIN)/rnnlab sweep sweeps/ablation.yaml
	@$(BIN)/rnnlab report ablation --out docs/results/ablation
	@OMP_NUM_THREADS=1 $(BIN)/python -m experiments.ablation --out docs/results/ablation

mnist: .venv/.core  ## run the sequential MNIST sweep (about 40 minutes) and write docs/results/mnist
	@$(BIN)/rnnlab sweep sweeps/mnist.yaml
	@$(BIN)/rnnlab report mnist --out docs/results/mnist

claims: .venv/.core  ## examine five claims about recurrent networks and write docs/claims.md
	@OMP_NUM_THREADS=1 $(BIN)/python -m experiments.claims --out docs/claims.md

words: .venv/.core  ## train language models, look at the vectors of their words and write docs/results/words (a few minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python -m experiments.words --out docs/results/words

genetic: .venv/.core  ## hold genetic against random search and write docs/results/genetic (about ten minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python -m experiments.genetic_search --out docs/results/genetic

reproductions: .venv/.core  ## reproduce published results (about an hour) and write docs/reproductions.md
	@OMP_NUM_THREADS=1 $(BIN)/rnnlab reproduce --all --out docs/reproductions.md

figures: .venv/.core  ## draw every figure from small runs and write docs/gallery (a few minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python -m experiments.gallery

bench: .venv/.core  ## measure the speed and write docs/performance.md, compiled.md, populations.md (keep the machine quiet)
	@$(BIN)/python -m benchmarks.layers --write
	@$(BIN)/python -m benchmarks.compiled --write
	@$(BIN)/python -m benchmarks.population --write
	@$(BIN)/python -m benchmarks.widths --write

bench-gpu: .venv/.core  ## measure the speed on a GPU and write docs/performance-gpu.md
	@$(BIN)/python -m benchmarks.gpu --write

scaling: .venv/.dev  ## measure workers against storages, searches against packing; write docs/scaling.md, populations.md
	@$(BIN)/python -m benchmarks.scaling --write
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.packing --write

screenshots: .venv/.dev  ## take the pictures of docs/dashboard.md (needs Chromium and its driver)
	@$(BIN)/rnnlab sweep sweeps/quickstart.yaml
	@$(BIN)/python -m experiments.dashboard quickstart --out docs/dashboard

notebooks: .venv/.dev  ## open the notebooks
	@$(BIN)/jupyter lab analysis

docs: .venv/.dev  ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html. Its search needs a server:"
	@echo "$(BIN)/python -m http.server --bind 127.0.0.1 --directory site"

clean:  ## remove the environment and caches, keep the results in runs/
	@rm -rf .venv build site *.egg-info .pytest_cache .ruff_cache
