# Two commands do everything: `make run` and `make test`. Both work on a machine that has only Python and make.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA := $(or $(ROBI_DATA_DIR),data)

# Libraries tell their makers nothing, whatever is run.
export ORT_DISABLE_TELEMETRY := 1

# An NVIDIA driver that answers selects the GPU build of FAISS and onnxruntime.
REQUIREMENTS := $(if $(shell nvidia-smi -L 2>/dev/null),requirements-gpu.txt,requirements.txt)
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes
# One line that counts the packages instead of hundreds that name them; in a log it is written once, at the end.
COUNTED = 2>&1 | awk -v total=$$(grep -c '^[a-z].*==' $<) -v live=$$([ -t 1 ] && echo 1 || echo 0) ' \
	/^(Collecting|Processing|Ignoring|Requirement already)/ { n++ } \
	/^Collecting/ { new++ } \
	/^(Collecting|Processing|Ignoring|Requirement already)/ && live { printf "\r      %d of %d packages", n, total; fflush() } \
	/^Installing/ && live { printf "\r      unpacking …             "; fflush() } \
	/^ERROR|THESE PACKAGES|Could not/ { print (live ? "\n" : "") $$0 } \
	END { printf "%s      %d packages, %d of them new\n", (live ? "\r" : ""), total, new }'

# Much of a test is waiting, a browser's most of all; a file's tests share what they open, so they stay together.
PARALLEL := --numprocesses 2 --dist loadfile

.PHONY: run install test test-fast test-engines check format bench growth bench-gpu chaos lock clean

run: install ## Serve dashboard and API at http://127.0.0.1:8000
	@$(BIN)/python -m dashboard

install: $(VENV)/.installed ## Create the environment; instant when it is up to date

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit("Robi needs Python 3.11, 3.12 or 3.13; this is " + sys.version.split()[0] + ". Try: make run PYTHON=python3.12")'
	@echo "[1/3] Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(REQUIREMENTS) | $(VENV)/bin/python
	@echo "[2/3] Installing $(REQUIREMENTS) (about a minute, once)"
	@$(INSTALL) -r $(REQUIREMENTS) $(COUNTED)
	@echo "[3/3] Building the open face pack"
	@$(BIN)/python -m core.faces.pack --pack open --data-dir $(DATA)
	@cp $(REQUIREMENTS) $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing requirements-dev.txt"
	@$(INSTALL) -r requirements-dev.txt $(COUNTED)
	@cp requirements-dev.txt $@

test: $(VENV)/.installed-dev check ## Everything that must hold: style, types, unit, contract, pages, browser
	@$(BIN)/python -m pytest $(PARALLEL) -m "not chaos and not e2e and not engines"
	@$(BIN)/python -m pytest $(PARALLEL) -m e2e

test-fast: $(VENV)/.installed-dev check ## While working: style, types, layers, unit and contract tests, without the slow ones
	@$(BIN)/python -m pytest $(PARALLEL) -m "not chaos and not slow" tests/unit tests/contract

test-engines: $(VENV)/.installed-dev ## On real servers: QDRANT_URL names a Qdrant, QDRANT_BIN one to start, kill and hang; says what it skipped
	@$(BIN)/python -m pytest tests/engines
	@$(BIN)/python -m pytest tests/contract -k "server or cluster"

check: $(VENV)/.installed-dev ## Style, types, layers
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache --no-logo

format: $(VENV)/.installed-dev
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

chaos: $(VENV)/.installed-dev ## Every fault: kills, the Nth failure at every edge, full disks, torn logs; a quarter of an hour
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m chaos tests/chaos

bench: $(VENV)/.installed-dev ## Measure beside the raw libraries, in one run
	@$(BIN)/python -m tests.bench_faces
	@$(BIN)/python -m tests.bench_service
	@$(BIN)/python -m tests.bench_ledger
	@$(BIN)/python -m tests.bench_store --dimension 512
	@$(BIN)/python -m tests.bench_store --dimension 128
	@$(BIN)/python -m tests.bench_http
	@$(BIN)/python -m tests.bench_cache
	@$(BIN)/python -m tests.bench_live
	@$(BIN)/python -m tests.bench_strategies
	@$(BIN)/python -m tests.bench_calibration
	@$(BIN)/python -m tests.bench_pages

growth: $(VENV)/.installed-dev ## Draw docs/benchmarks.md: 10k, 100k and 1M templates; slow
	@$(BIN)/python -m tests.bench_growth

bench-gpu: $(VENV)/.installed-dev ## Measure the GPU index beside raw FAISS, the CPU and the card's memory
	@$(BIN)/python -m tests.bench_gpu

lock: ## Resolve pyproject.toml into the pinned, hashed requirements
	@$(BIN)/python -m pip install --quiet uv
	$(LOCK) --extra cpu --output-file requirements.txt
	$(LOCK) --extra gpu --no-emit-package onnxruntime --constraint requirements.txt --output-file requirements-gpu.txt
	$(LOCK) --extra dev --no-emit-package onnxruntime --constraint requirements.txt --output-file requirements-dev.txt

LOCK = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet pyproject.toml

clean: ## Remove the environment and caches; never the data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
