# `make` lists what there is. Everything runs in its own environment, .venv, made on first use; VENV=path names another.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST := python -m pytest --quiet --numprocesses 2 --dist worksteal
LOWEST := $(VENV)-lowest
BENCH_IMAGES ?= ../shared/data/kodak
BENCH_CODECS ?= vqz,vqz:::psnr,vqz:photo-lite,jpeg,webp,avif,avif:444:psnr,avif:3,jxl
HELD_OUT_CODECS ?= vqz,vqz:::psnr,avif
# From below 0.1 to above 2 bits per pixel. Each codec's own sweep is twice as fine, and takes twice as long.
HELD_OUT_QUALITIES ?= vqz=10,20,32,44,56,68,80,91;avif=5,12,20,30,40,60,80,88
BENCH_QUALITIES ?= $(HELD_OUT_QUALITIES);jpeg=1,5,12,27,55,82,90;webp=0,4,12,25,58,84,91;jxl=0,20,43,60,72,88,93
TRAIN_IMAGES ?= ../shared/data/photos
MNIST ?= ../shared/data/mnist

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-lowest test-slow lint bench bench-held-out remake mnist golden man docs wheels clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

demo: $(VENV)/.base ## encode and decode the samples: a table, and a picture beside JPEG and AVIF in out/
	$(BIN)/python samples/demo.py

test: $(VENV)/.dev ## the tests, in about four minutes on two idle cores
	$(BIN)/$(PYTEST)

test-fast: $(VENV)/.dev ## the tests that are not marked slow, in about a minute on two idle cores
	$(BIN)/$(PYTEST) -m "not slow"

# Renew constraints-lowest.txt by the command in its first lines (pip install uv). No torch: the lowest has no CPU build on PyPI.
# What old releases call that newer ones of their own dependencies deprecate is not ours to mend.
test-lowest: $(LOWEST)/.test ## the fast tests with the lowest versions that pyproject.toml admits, without torch, on Python 3.11
	$(LOWEST)/bin/$(PYTEST) -m "not slow" -W ignore::DeprecationWarning

test-slow: $(VENV)/.dev ## the trials of docs/reliability.md that take long, into out/reliability.txt
	mkdir -p out && $(BIN)/python tests/reliability/trials.py --data $(dir $(BENCH_IMAGES)) > out/reliability.txt; \
	status=$$?; cat out/reliability.txt; exit $$status

lint: $(VENV)/.dev ## style, types, and that imports point down only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev ## rate and distortion against the other codecs on BENCH_IMAGES: tables and a plot in out/bench
	$(BIN)/vqcodec bench $(BENCH_IMAGES) --codecs $(BENCH_CODECS) --qualities "$(BENCH_QUALITIES)" -o out/bench -f

bench-held-out: $(VENV)/.dev ## the same on the photographs of TRAIN_IMAGES that no model learned from, in out/bench-held-out
	$(BIN)/python experiments/held_out.py $(TRAIN_IMAGES) out/held-out
	$(BIN)/vqcodec bench out/held-out --codecs $(HELD_OUT_CODECS) --qualities "$(HELD_OUT_QUALITIES)" -o out/bench-held-out -f

remake: $(VENV)/.dev ## train photo-lite and photo anew from TRAIN_IMAGES, into out/remake; nine hours on two cores
	$(BIN)/python experiments/remake.py models/photo/recipe.toml $(TRAIN_IMAGES) out/remake

mnist: $(VENV)/.dev ## train and evaluate the models of docs/mnist.md on the idx files in MNIST; half an hour on two cores
	$(BIN)/python experiments/mnist.py train $(MNIST) out/mnist
	$(BIN)/python experiments/mnist.py report $(MNIST) out/mnist

golden: $(VENV)/.dev ## write the golden files anew; for a new format version only
	$(BIN)/python tests/make_golden.py

man: $(VENV)/.base ## the man page, into out/
	mkdir -p out && $(BIN)/python packaging/make_man.py > out/vqcodec.1

docs: $(VENV)/.docs ## all pages and the reference as HTML, into out/docs/VERSION
	$(BIN)/python packaging/make_docs.py out/docs

wheels: $(VENV)/.dev ## the wheels of vqcodec and of the models that most do not need, into dist/
	$(BIN)/python -m build --wheel --outdir dist .
	$(BIN)/python -m build --wheel --outdir dist packaging/models-extra

clean: ## remove the environment and all that was built
	rm -rf .venv .venv-lowest build dist out .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find vqcodec tests samples experiments -name __pycache__ -type d -prune -exec rm -rf {} +

$(LOWEST)/.pip: PYTHON := python3.11

# The pip that comes with Python 3.11 knows neither dependency groups nor licence expressions.
%/.pip:
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.base: $(VENV)/.pip pyproject.toml constraints.txt
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.pip pyproject.toml constraints.txt
	$(INSTALL) --editable ".[bench,train,zarr]" --group dev
	@touch $@ $(VENV)/.base

$(VENV)/.docs: $(VENV)/.base
	$(INSTALL) --group docs
	@touch $@

$(LOWEST)/.test: $(LOWEST)/.pip pyproject.toml constraints-lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt --editable ".[bench,jxl,zarr]" --group test
	@touch $@
