# Two commands for a fresh machine: make demo, make test.
SHELL := /bin/bash
UV := $(shell command -v uv || echo .tools/bin/uv)
RUN := $(UV) run --quiet
# Not to be reported as the project's fault: uv warns when its cache is on another disk.
export UV_LINK_MODE ?= copy

.DEFAULT_GOAL := help

.PHONY: help
help: ## explain the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: demo
demo: $(UV) ## train ResNet on generated sample pictures: about a minute on two cores
	$(RUN) train.py fit --config configs/resnet_tiny_imagenet.yaml --config configs/sample/resnet_tiny_imagenet.yaml

.PHONY: test
test: $(UV) ## run the tests, without the slow ones
	$(RUN) pytest -m "not slow"

.PHONY: test-slow
test-slow: $(UV) ## run the slow tests only
	$(RUN) pytest -m slow

.PHONY: test-all
test-all: $(UV) ## run all tests
	$(RUN) pytest

.PHONY: lint
lint: $(UV) ## check style and types
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

.PHONY: format
format: $(UV) ## bring the code into shape
	$(RUN) ruff check --fix
	$(RUN) ruff format

.PHONY: requirements
requirements: $(UV) ## write requirements.txt for those who use pip
	$(UV) export --quiet --no-hashes --no-header --no-annotate --no-emit-project --output-file requirements.txt

# uv in a folder of the project's own, where it is missing; also works where pip refuses to install system-wide.
.tools/bin/uv:
	python3 -m pip install --quiet --target .tools uv \
		|| (python3 -m venv .tools && .tools/bin/python -m pip install --quiet uv)
