# Two commands for a fresh machine: make demo, make test.
SHELL := /bin/bash
UV := $(shell command -v uv || echo .tools/bin/uv)
RUN := $(UV) run --quiet
# Python keeps what it has compiled, so that only the first of the many processes of the tests has to.
unexport PYTHONDONTWRITEBYTECODE
# As many processes as there are cores, each test file in one of them.
TEST := $(RUN) --extra export pytest --numprocesses=auto --maxprocesses=4 --dist=loadgroup --no-loadscope-reorder
# Not to be reported as the project's fault: uv warns when its cache is on another disk.
export UV_LINK_MODE ?= copy

.DEFAULT_GOAL := help

.PHONY: help
help: ## explain the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: demo
demo: $(UV) ## train ResNet on generated synthetic images: about a minute on two cores
	$(RUN) train.py fit --config configs/resnet_tiny_imagenet.yaml --config configs/synthetic/resnet_tiny_imagenet.yaml

.PHONY: app
app: app-assets app/models/model.onnx.json ## segment images in the browser: the app at http://127.0.0.1:8000
	$(RUN) python app/serve.py

# A model with the weights of a run's CHECKPOINT, or with random ones, for images of SIZE x SIZE pixels. It is kept for
# the next time unless one of the two is given.
SIZE := 401
RUN_FOLDER = $(dir $(CHECKPOINT))..
app/models/model.onnx.json: $(if $(CHECKPOINT)$(filter command,$(origin SIZE)),FORCE) | $(UV)
	mkdir -p $(@D)
	$(RUN) --extra export train.py export \
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
	$(TEST) -m slow

.PHONY: test-all
test-all: $(UV) ## run all tests
	$(TEST)

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
