# make lab    set up .venv and open the notebooks        make lab ARGS=--allow-root in a container
# make test   set up .venv and run every test and notebook
# make quick  lint, and the tests that take a minute: none of browsers and notebooks, the slow ones of what changed
# Another interpreter: make lab PYTHON=/path/to/python3.12     In Chinese: make lab START=translations/zh/00-start-here.ipynb

# pyenv and its like put a python3 on the path that only prints an error, so each candidate is run.
# TensorFlow has wheels for 64 bits, and none for Intel Macs and Windows on ARM.
machine := import platform, sys; bits = 64 if sys.maxsize > 2**32 else 32; on = platform.system(), platform.machine()
wheels := bits == 64 and on not in (("Darwin", "x86_64"), ("Windows", "ARM64"))
supported := $(machine); sys.exit(not ($(wheels) and (3, 11) <= sys.version_info[:2] <= (3, 13)))
version := $(machine); print("Python %d.%d.%d" % sys.version_info[:3], "of %d bits on" % bits, *on)
candidates := python3 python3.13 python3.12 python3.11
PYTHON ?= $(shell for p in $(candidates); do $$p -c '$(supported)' 2>/dev/null && echo $$p && break; done)
usable = $(shell $(or $(PYTHON),false) -c '$(supported)' 2>/dev/null && echo yes)
found = $(or $(shell $(or $(PYTHON),python3) -c '$(version)' 2>/dev/null),$(if $(PYTHON),$(PYTHON) (does not run),none that runs))
needed := bnlab needs Python 3.11, 3.12 or 3.13 of 64 bits, and no Intel Mac
python := .venv/bin/python
code := conftest.py bnlab tests tools notebooks

# A file at a time for each worker, so that a notebook stays in one kernel; the longest files come first. Three keep two
# processors busy to the end; ARGS="-n 8" on a larger machine.
workers := -n 3 --dist loadfile --no-loadscope-reorder

START ?= notebooks/00-start-here.ipynb

.PHONY: lab test quick lint execute translate bench html

lab: .venv/.installed
	$(python) -m jupyterlab $(START) $(ARGS)

test: .venv/.installed-dev
	$(python) -m pytest $(workers) $(ARGS)

quick: lint
	$(python) -m pytest -q $(workers) $$($(python) tools/quick.py) $(ARGS)

lint: .venv/.installed-dev
	$(python) -m ruff check $(code)
	$(python) -m ruff format --check $(code)
	.venv/bin/lint-imports
	[ ! -x .venv/bin/biome ] || .venv/bin/biome lint bnlab/sliders tools/site  # it has no wheel for some machines

execute: .venv/.installed
	$(python) tools/execute.py $(ARGS)

translate: .venv/.installed
	$(python) tools/translate.py $(ARGS)

bench: .venv/.installed-dev
	$(python) tools/bench.py $(ARGS)

html: .venv/.installed-dev
	$(python) tools/export.py $(ARGS)

$(python):
	$(if $(usable),,$(error $(needed); found $(found). Name one: make lab PYTHON=python3.12))
	$(PYTHON) -m venv --clear .venv || { rm -rf .venv; exit 1; }

.venv/.installed: $(python) requirements.txt pyproject.toml
	@$(python) -m pip --version >/dev/null 2>&1 || $(python) -m ensurepip  # uv makes a .venv without pip
	$(python) -m pip install -r requirements.txt
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(python) -m pip install -e '.[dev]'
	@touch $@
