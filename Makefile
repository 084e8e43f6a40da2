PYTHON ?= python3
pytest = .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test slow coverage lint docs pages bench peers
.NOTPARALLEL:

demo: .venv/.recipes
	.venv/bin/python -m footplate.recipes.image_classification

test: .venv/.recipes .venv/.test .venv/.guests
	OMP_NUM_THREADS=1 $(pytest) -m "not slow"

slow: .venv/.recipes .venv/.test .venv/.guests
	OMP_NUM_THREADS=1 $(pytest) -m slow

coverage: .venv/.recipes .venv/.test .venv/.guests .venv/.coverage
	OMP_NUM_THREADS=1 $(pytest) -m "not slow" --cov --cov-report=term-missing:skip-covered

lint: .venv/.test build/typing/footplate
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

docs: .venv/.docs
	.venv/bin/python -m sphinx -W --keep-going docs docs/_build

# What the pages show of the code; tests keep it equal.
pages: .venv/.docs
	for script in generate reference house loop_picture; do .venv/bin/python docs/$$script.py || exit 1; done

bench: .venv/.recipes .venv/.test .venv/.guests
	.venv/bin/python -m tests.benchmarks

peers: .venv/.peers
	OMP_NUM_THREADS=1 .venv/bin/python -m tests.benchmarks peers
	.venv/bin/python -m tests.benchmarks.peers.page

# One stamp an extra: installed once, and again when a requirement or a version changes.
.venv/.%: setup.cfg constraints.txt
	test -e .venv/bin/pip || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --constraint constraints.txt --editable '.[$*]'
	touch $@

# Links to the package alone: a link to the root would contain itself.
build/typing/footplate:
	mkdir -p $@
	ln -s $(addprefix ../../../,__init__.py py.typed engine handlers recipes) $@
