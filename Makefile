# serve: a running service.  test: the whole suite.  check: lint, formatting, types, import table.
# docs: the site, in build/site.  docs-serve: the site, at http://127.0.0.1:8080 while it is written.
# lock: the pinned requirements of the images.  image-check: the cpu image, built without an engine
# (root, Debian's debootstrap).
# bench: UMZero beside other ways to serve the same bundle.  screenshots: of the playground.
# Needs make, git, and Python >= 3.11 with its venv; everything else is installed into .venv*.

PYTHON ?= python3
PORT ?= $(or $(UMZERO_PORT),8000)
# Not ?=: some shells export HOST as the machine's name.
HOST = $(or $(UMZERO_HOST),127.0.0.1)
BUNDLE ?= $(or $(UMZERO_BUNDLE),weights/birds)
ARGS ?=

SOURCES := $(shell find umzero service model -type f -not -path '*/__pycache__/*')
# The pin stands in pyproject.toml alone.
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)",.*/\1/p' pyproject.toml)
BIN := .venv/bin
LOCK = $(BIN)/uv --config-file docker/uv.toml pip compile --quiet --upgrade --generate-hashes \
	--custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help serve test check format docs docs-serve docs-pages lock image-check bench bench-scale screenshots clean

help:
	@echo "make serve [PORT=8000] [HOST=127.0.0.1] [BUNDLE=weights/birds]"
	@echo "make test [ARGS='-k batcher']"
	@echo "make docs | docs-serve"
	@echo "make lock | image-check"
	@echo "make bench [ARGS='--rounds 1 --only umzero mosec']"
	@echo "make bench-scale [ARGS='--classes 100 10000']"
	@echo "make check | format | screenshots | clean"

serve: .venv-serve/.installed
	exec .venv-serve/bin/umzero serve --bundle "$(BUNDLE)" --host "$(HOST)" --port "$(PORT)"

test: .venv/.installed
	$(BIN)/python -m pytest $(ARGS)

check: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

format: .venv/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: docs-pages
	$(BIN)/zensical build --clean --strict

docs-serve: docs-pages
	$(BIN)/zensical serve --dev-addr 127.0.0.1:8080

# The pages that are made from the program: HTTP, commands, settings, metrics.
docs-pages: .venv/.installed
	$(BIN)/python -m docs.generate

# The versions of today; each is then installed by its hash. Linux alone has images.
lock: .venv/.installed
	$(LOCK) --python-version 3.11 --extra postgres pyproject.toml -o docker/requirements-cpu.lock
	$(LOCK) --python-version 3.12 --python-platform x86_64-manylinux_2_28 \
		--no-emit-package mamba-ssm --no-emit-package causal-conv1d \
		--extra train --extra cuda --extra postgres pyproject.toml -o docker/requirements-gpu.lock
	$(LOCK) --python-version 3.12 --no-deps docker/requirements-cuda.in \
		-o docker/requirements-cuda.lock
	$(LOCK) --python-version 3.11 docker/requirements-build.in -o docker/requirements-build.lock

image-check: .venv/.installed
	$(BIN)/hadolint Dockerfile
	$(BIN)/python docker/build.py cpu build/image
	$(BIN)/python docker/size.py build/image/cpu
	$(BIN)/python docker/start.py build/image/cpu

# Each system gets an environment of its own beside this one, from bench/environments.py.
bench: .venv-bench/bench/.installed
	.venv-bench/bench/bin/python bench/run.py $(ARGS)

# What many registered classes cost.
bench-scale: .venv/.installed
	$(BIN)/python bench/scale.py $(ARGS)

# Needs Chromium; Debian's fonts-noto-core has the type of the ones in the README.
screenshots: .venv/.installed
	$(BIN)/python bench/screenshots.py

clean:
	rm -rf .venv .venv-serve .venv-bench build dist .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find umzero service model tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed, not editable: what is served is what a user's `pip install .` gives.
.venv-serve/.installed: pyproject.toml README.md LICENSE $(SOURCES)
	$(call new_environment,.venv-serve)
	.venv-serve/bin/python -m pip install --quiet .
	touch $@

# torch first and alone: no other requirement may choose its version.
.venv/.installed: pyproject.toml
	$(call new_environment,.venv)
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable '.[train,dev]'
	touch $@

.venv-bench/bench/.installed: bench/requirements/bench.txt
	$(call new_environment,.venv-bench/bench)
	.venv-bench/bench/bin/python -m pip install --quiet -r $<
	touch $@

define new_environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "needs Python >= 3.11; $(PYTHON) is another: call make PYTHON=python3.12, say" >&2; exit 1; }
$(PYTHON) -m venv $(1)
@echo "installing into $(1): this takes a while the first time"
endef
