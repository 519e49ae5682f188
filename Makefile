# Each target sets up what it needs; `make demo` and `make test` work on a fresh machine with Python 3.11+ and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_HOME ?= .demo
STAMP := $(VENV)/.installed

.PHONY: demo test check format bench docs site clean

demo: $(STAMP)  ## train the backbone, SRA-CL, and SRA-CL with swapped texts on the synthetic demo set
	$(BIN)/sracl demo --home $(DEMO_HOME)

test: $(STAMP)  ## run the test suite
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

check: $(STAMP)  ## lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## every benchmark beside its plain way; needs the real data sets beside the project
	$(BIN)/python -m pytest benchmarks/bench_*.py --benchmark-columns=min,median,max,rounds

docs: $(STAMP)  ## write docs/schema.md anew from the migrations
	$(BIN)/python -m store.database.schema docs/schema.md

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@command -v $${CXX:-c++} >/dev/null || { echo "A C++ compiler is needed: annoy is built from source. Install g++ (Debian, Ubuntu: apt install g++), or the Xcode command line tools (macOS: xcode-select --install)."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

site: $(STAMP)  ## build the documentation as a site into build/site; a link that leads nowhere fails
	$(BIN)/properdocs build

clean:
	rm -rf $(VENV) $(DEMO_HOME) build dist *.egg-info
