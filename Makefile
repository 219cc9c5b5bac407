# Each line runs a normal tool that you could type yourself.
#   make serve   build the book and read it          make test    everything that is checked
#   make lab     open the chapters in JupyterLab     make bench   measure the site and the mechanisms

PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
SOURCES := $(shell find attention_core benchmarks/results book chapters _config.yml _toc.yml requirements.txt -type f \
             -not -path '*/__pycache__/*' -not -path '*/.ipynb_checkpoints/*')

.PHONY: serve book lab test check bench clean

serve: _build/html/.complete
	@$(BIN)/python book/serve.py --port $(PORT)

book: _build/html/.complete

lab: .venv/.complete
	$(BIN)/jupyter lab chapters

test: .venv/.complete
	$(BIN)/python -m pytest

check: .venv/.complete
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/nbstripout --verify --keep-id $$(find book chapters -name '*.ipynb')

bench: .venv/.complete
	$(BIN)/python benchmarks/site.py
	$(BIN)/python benchmarks/variants.py
	$(BIN)/python benchmarks/flash_cpu.py
	$(BIN)/python benchmarks/ring_memory.py

clean:
	rm -rf _build

.venv/.complete: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar on -r requirements.txt
	$(BIN)/python -m pip install --no-deps --editable .
	@touch $@

_build/html/.complete: .venv/.complete $(SOURCES)
	$(BIN)/jupyter-book build . --all -W -n --keep-going
	@touch $@
