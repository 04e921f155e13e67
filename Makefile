# make bench | test | suite | table | lint | check: each makes the environment first when it is missing.

METHOD  ?= infoscc
DATASET ?= digits
SEEDS   ?= 0
RECIPE  ?=
SET     ?=
PRECISION ?=
CAPTURE   ?=
LOG       ?=
RESULTS ?= results
PYTHON  ?= python3

PY      := .venv/bin/python
READY   := .venv/.ready
# GANTLET_DATA is read by the command itself; DATA_ROOT on the command line goes before it.
DATA    := $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)")
ENGINE  := $(if $(PRECISION),--precision $(PRECISION)) $(if $(CAPTURE),--capture $(CAPTURE))
GPU_RESULTS := results/gpu-compare
PLACES  := $(DATA) --results "$(RESULTS)"
WHAT    := --method $(METHOD) --dataset "$(DATASET)" --seed $(SEEDS) $(if $(RECIPE),--recipe $(RECIPE)) \
           $(if $(SET),--set $(SET)) $(ENGINE)
# A suite has seeds of its own; SEEDS= goes before them.
SUITE_SEEDS := $(if $(filter-out file,$(origin SEEDS)),--seed $(SEEDS))
# Tests run in parallel, one thread each: two processes that both use all cores slow each other down several times.
# A file's tests stay together, so that what they share (a trained run, two ranks) is made once. A worker that dies ends
# the run with an error: xdist would start another one, and wait for ever for the file that killed the first.
TEST    := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -n $(or $(JOBS),2) --dist loadfile --max-worker-restart=0

.DEFAULT_GOAL := help
.PHONY: help bench plan suite reproduce coverage error-rates table results zoo report drift drift-model baseline same same-tables test test-slow test-slurm fuzz kill-test gpu-check results-gpu lint check format docs terms overhead speed peers throughput memory lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

bench: $(READY)  ## train METHOD on DATASET for each of SEEDS, write its rows (RECIPE= DATA_ROOT= PRECISION=bf16 CAPTURE=compile LOG=tensorboard SET="key=value ...")
	@$(PY) -m benchmark run $(WHAT) $(if $(LOG),--log $(LOG)) $(PLACES)
	@$(PY) -m benchmark table --quiet $(PLACES)

plan: $(READY)  ## what `make bench`, or `make suite` (SUITE= SIZE=), would do and cost
	@$(PY) -m benchmark plan $(if $(SUITE),--suite "$(SUITE)" $(if $(SIZE),--size $(SIZE)) $(SUITE_SEEDS) $(ENGINE),$(WHAT)) $(PLACES)

suite: $(READY)  ## all runs of SUITE=name (SIZE= SEEDS= ROWS="..." WORKERS=n MINUTES=n EXECUTOR=local|slurm SLURM="key=value"), then its tables
	@$(PY) -m benchmark suite "$(SUITE)" $(if $(SIZE),--size $(SIZE)) $(SUITE_SEEDS) $(if $(ROWS),--rows $(ROWS)) $(if $(WORKERS),--workers $(WORKERS)) \
	  $(if $(MINUTES),--minutes $(MINUTES)) $(if $(EXECUTOR),--executor $(EXECUTOR)) $(if $(SLURM),--slurm $(SLURM)) $(ENGINE) $(if $(LOG),--log $(LOG)) $(PLACES)

reproduce: $(READY)  ## paper-size runs of METHOD on DATASET (TABLE=suite) against published values; RECORDS_ONLY=1: train nothing
	@$(PY) -m benchmark reproduce --method $(METHOD) --dataset "$(DATASET)" $(if $(TABLE),--table "$(TABLE)") \
	  $(SUITE_SEEDS) $(if $(RECORDS_ONLY),--records-only) $(PLACES)

coverage: $(READY)  ## write docs/coverage.md: what reproduces each table and figure of the papers
	$(PY) -m benchmark.report.coverage

error-rates: $(READY)  ## how often are verdicts wrong? simulated from the published records; writes docs/error-rates.csv (half an hour)
	OMP_NUM_THREADS=1 $(PY) -m benchmark.report.error_rates $(if $(TABLES),--tables $(TABLES))

zoo: $(READY)  ## publish a model for each row of SUITE=compare (SIZE=) from the runs in RESULTS: results/reference/models
	@$(PY) -m benchmark.runs.suites.zoo $(if $(SUITE),"$(SUITE)") $(if $(SIZE),--size $(SIZE)) $(SUITE_SEEDS) --results "$(RESULTS)"

table: $(READY)  ## CSV, LaTeX and Markdown tables from the records (WITH=reference: with the published rows; NAME=dataset or suite to print, ROWS=)
	@$(PY) -m benchmark table $(NAME) $(if $(WITH),--with $(WITH)) $(if $(ROWS),--rows $(ROWS)) $(PLACES)

results: $(READY)  ## write the published tables and docs/results from the records of results/reference: a minute
	@$(PY) -m benchmark table --quiet --results results/reference
	@$(PY) -m benchmark.report.results_pages

report: $(READY)  ## leaderboards, datasets, methods as a small HTML site: results/report.html, or OUT=file
	@$(PY) -m benchmark report $(PLACES) $(if $(OUT),--out "$(OUT)")

drift: $(READY)  ## regression test of the metrics: seconds, no training
	@$(PY) -m benchmark drift --quiet

drift-model: $(READY)  ## new records of METHOD on DATASET against their baseline (METRICS="fd_judge ...": fewer have more power)
	@$(PY) -m benchmark drift --model $(METHOD) --dataset "$(DATASET)" $(if $(METRICS),--metrics $(METRICS)) $(PLACES)

baseline: $(READY)  ## accept the present numbers, REASON="..."; with METHOD= DATASET= a model's
	@$(PY) -m benchmark drift --accept "$(REASON)" \
	  $(if $(filter-out file,$(origin METHOD)),--model $(METHOD) --dataset "$(DATASET)")

same: $(READY)  ## do tiny runs of everything give the same bits as at REV=<commit>? 3 minutes, the first time 6 (KEEP=folder)
	$(PY) tests/tools/same_bits.py "$(REV)" $(if $(KEEP),--keep "$(KEEP)")

same-tables: $(READY)  ## are the published tables, and the report (as at REV=<commit>), what the records give? a minute
	$(PY) tests/tools/same_tables.py $(if $(REV),"$(REV)") $(if $(KEEP),--keep "$(KEEP)")

test: $(READY)  ## the tests, under 10 minutes on two cores
	$(TEST)

test-slow: $(READY)  ## the tests that train for minutes
	$(TEST) -m slow --timeout=3600

test-slurm: $(READY)  ## a suite on a real SLURM of one node, started for it: root and Debian's packages, five minutes
	$(PY) tests/tools/slurm_test.py

fuzz: $(READY)  ## bad inputs at random: no traceback, nothing silently used (SEED=n MINUTES=n; 10 minutes)
	OMP_NUM_THREADS=1 $(PY) tests/tools/fuzz.py $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

kill-test: $(READY)  ## runs killed at random moments end with the same bits (SEED=n KILLS=n of each run; 10 minutes)
	OMP_NUM_THREADS=1 $(PY) tests/tools/kill_test.py $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS))

gpu-check: $(READY)  ## all there is to measure on a CUDA GPU, MINUTES=8 a call, each goes on where the last stopped (OUT=folder PARTS= METHODS=)
	@$(PY) tests/tools/gpu_check.py --minutes $(or $(MINUTES),8) $(if $(OUT),--out "$(OUT)") \
	  $(if $(PARTS),--parts $(PARTS)) $(if $(METHODS),--methods $(METHODS))

results-gpu: $(READY)  ## the comparison on CIFAR-10 on a CUDA GPU, MINUTES=8 a call, each goes on where the last stopped (WORKERS=n SEEDS= OUT=folder for a copy of the records)
	@$(PY) -m benchmark suite compare --size gpu --device cuda $(SUITE_SEEDS) $(ENGINE) $(DATA) \
	  --workers $(or $(WORKERS),2) --minutes $(or $(MINUTES),8) --results "$(GPU_RESULTS)" || [ $$? -eq 140 ]
	@$(if $(OUT),tar -czf "$(OUT)/gpu-compare.tar.gz" -C "$(GPU_RESULTS)" --exclude=./runs --exclude=./artifacts .)

lint: $(READY)  ## style and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

check: lint test  ## what must pass before a change is merged

format: $(READY)  ## lay the code out
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(READY)  ## the documentation site in docs/_build/html; the first call installs Sphinx
	@$(PY) -c 'import furo, myst_parser, sphinx' 2>/dev/null || $(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[docs]'
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

terms: $(READY)  ## how often texts use odd terms, by the list in tests/tools/terms.py
	$(PY) tests/tools/terms.py

overhead: $(READY)  ## the harness's step against a hand-written loop
	$(PY) tests/tools/bench_overhead.py

speed: $(READY)  ## a step of each method against its networks alone, and where its time goes
	$(PY) tests/tools/bench_steps.py --dataset "$(DATASET)"
	$(PY) tests/tools/step_parts.py --dataset "$(DATASET)"

peers: $(READY)  ## a step of SNGAN against the same networks in CHECKOUT, of mimicry or StudioGAN
	$(PY) tests/tools/bench_peers.py $(CHECKOUT)

throughput: $(READY)  ## our evaluation against torch-fidelity's and clean-fid's, the same images and weights
	$(PY) tests/tools/bench_evaluation.py

memory: $(READY)  ## peak memory of the metrics on 50,000 features of 2,048 numbers (an hour; N=6000 for minutes)
	OMP_NUM_THREADS=1 $(PY) tests/tools/bench_memory.py --n $(or $(N),50000)

lock: $(READY)  ## renew requirements.lock from the present environment
	@{ grep '^#' requirements.lock; $(PY) -m pip freeze --exclude-editable \
	  | grep -viE '^(nvidia|cuda|triton|pip|setuptools)' | sort -f; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean: export RESULTS := $(RESULTS)
clean:  ## remove run folders and artefacts of RESULTS; records and tables stay (DRY_RUN=1: only say which)
	@$(PYTHON) tests/tools/clean.py $(if $(DRY_RUN),--dry-run)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "gantlet needs Python >= 3.11; $(PYTHON) is older. Name another: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)
