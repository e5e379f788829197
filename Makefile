# Two commands for a fresh machine: make demo, make test.
SHELL := /bin/bash
UV := $(shell command -v uv || echo .tools/bin/uv)
UV_RUN := $(UV) run --quiet
# Python keeps what it has compiled, so that only the first of the many processes of the tests has to.
unexport PYTHONDONTWRITEBYTECODE
# As many processes as there are cores, each test file in one of them.
TEST := $(UV_RUN) --extra export pytest --numprocesses=auto --maxprocesses=4 --dist=loadgroup --no-loadscope-reorder
# The slow ones, which log to MLflow and W&B too.
TEST_SLOW := $(TEST:pytest=--group loggers pytest)
# Not to be reported as the project's fault: uv warns when its cache is on another disk.
export UV_LINK_MODE ?= copy

.DEFAULT_GOAL := help

.PHONY: help
help: ## explain the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: demo
demo: $(UV) ## train ResNet on generated synthetic images: two to three minutes on two cores
	@[ -d .venv ] || echo "Installing about 6 GB into .venv, most of it torch with its CUDA libraries."
	$(UV) sync --inexact
	$(UV_RUN) train.py fit --config configs/resnet_tiny_imagenet.yaml --config configs/synthetic/resnet_tiny_imagenet.yaml

.PHONY: app
app: app-assets app/models/model.onnx.json ## segment images in the browser: the app at http://127.0.0.1:8000
	$(UV_RUN) python app/serve.py

# A model with the weights of a run's CHECKPOINT, or with random ones, for images of SIZE x SIZE pixels. It is kept for
# the next time unless one of the two is given.
SIZE := 401
RUN_FOLDER = $(dir $(CHECKPOINT))..
app/models/model.onnx.json: $(if $(CHECKPOINT)$(filter command,$(origin SIZE)),FORCE) | $(UV)
	mkdir -p $(@D)
	$(UV_RUN) --extra export train.py export \
		$(if $(CHECKPOINT),--config $(RUN_FOLDER)/config.yaml --ckpt_path $(CHECKPOINT), \
			--config configs/deeplab_voc.yaml --config configs/synthetic/deeplab_voc.yaml --random_weights=true) \
		--format=onnx --output=$(basename $@) --overwrite=true --size=[$(SIZE),$(SIZE)] --preprocessing=normalize --argmax=true

.PHONY: FORCE
FORCE:

# The runtime for WebAssembly, and the larger one that has WebGPU too.
RUNTIME := ort.wasm.bundle.min.mjs ort-wasm-simd-threaded.wasm ort.webgpu.bundle.min.mjs ort-wasm-simd-threaded.asyncify.wasm
.PHONY: app-assets
app-assets: $(addprefix app/vendor/,$(RUNTIME)) ## copy what the app loads from its npm package

app/vendor/%: app/node_modules/.package-lock.json
	mkdir -p $(@D)
	cp app/node_modules/onnxruntime-web/dist/$* $@.part && mv $@.part $@

app/node_modules/.package-lock.json: app/package-lock.json # npm writes it last
	@command -v npm > /dev/null || { echo "npm is missing, which the app's runtime comes from. Install Node.js." >&2; exit 1; }
	npm ci --silent --prefix app

.PHONY: test
test: $(UV) ## run the tests, without the slow ones
	$(TEST) -m "not slow"

.PHONY: test-slow
test-slow: $(UV) ## run the slow tests only
	$(TEST_SLOW) -m slow

.PHONY: test-all
test-all: $(UV) ## run all tests
	$(TEST_SLOW)

.PHONY: fuzz
fuzz: $(UV) ## read TIMES (20) as many damaged files as the tests do
	FUZZ_TIMES=$(or $(TIMES),20) $(UV_RUN) --extra export pytest -m fuzz

.PHONY: report
report: $(UV) ## write RUN (workload/version_0) as one HTML page
	$(UV_RUN) train.py report $(or $(RUN),$(error Give the run: make report RUN=workload/version_0))

.PHONY: schema
schema: $(UV) ## write configs/schema.json anew, by which editors complete and check the configurations
	$(UV_RUN) train.py fit --print_schema > configs/schema.json.part
	mv configs/schema.json.part configs/schema.json

# So many, all cases of one seed; python -m tests.faults --case=NUMBER tries one of them again.
N := 300
SEED := 0
.PHONY: faults
faults: $(UV) ## kill N runs of the workloads at random moments, or send them signals: do they end as undisturbed ones?
	$(UV_RUN) python -m tests.faults --count=$(N) --seed=$(SEED)

# ONLY those whose file or description has this in it: make mutants ONLY=modules/dlrm.py
.PHONY: mutants
mutants: $(UV) ## put faults into the code, one at a time: do the quick tests notice them? About an hour on two cores
	$(UV_RUN) --extra export python -m tests.mutants --only="$(ONLY)"

.PHONY: lint
lint: $(UV) ## check style and types
	$(UV_RUN) ruff check
	$(UV_RUN) ruff format --check
	$(UV_RUN) mypy

.PHONY: docs
docs: $(UV) ## build the documentation as a site, into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(UV_RUN) --only-group docs mkdocs build --strict --quiet
	@echo "$(CURDIR)/site/index.html"

.PHONY: format
format: $(UV) ## bring the code into shape
	$(UV_RUN) ruff check --fix
	$(UV_RUN) ruff format

.PHONY: requirements
requirements: $(UV) ## write requirements.txt for those who use pip
	$(UV) export --quiet --no-hashes --no-header --no-annotate --no-emit-project --output-file requirements.txt

# uv in a folder of the project's own, where it is missing; also works where pip refuses to install system-wide.
.tools/bin/uv:
	python3 -m pip install --quiet --target .tools uv \
		|| (python3 -m venv .tools && .tools/bin/python -m pip install --quiet uv)
