# Everything here works in a fresh clone: it makes its own virtual environment in .venv.
PYTHON ?= python3
BIN := .venv/bin
# One torch thread per test worker: two workers on two cores do not fight.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: help demo test test-slow check lint types floors check-native bench bench-exactness bench-practice bench-events bench-inference docs clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: .venv/.demo ## fit a flow to two moons, write runs/demo with pictures and a report
	$(BIN)/bijecta demo

test: .venv/.dev ## run the tests
	$(PYTEST) -m "not slow"

test-slow: .venv/.dev ## run the tests that take minutes: compile and export of every family, soaks
	$(PYTEST) -m slow

check: lint types floors test ## everything that has to be green before a commit

lint: .venv/.dev ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev ## mypy, strict
	$(BIN)/mypy

floors: .venv/.dev ## import-linter: a package imports only from floors below its own
	$(BIN)/lint-imports

check-native: .venv/.dev ## run the native kernels under the address and undefined-behaviour sanitizers
	$(BIN)/python hatch_build.py build/sanitized -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
	BIJECTA_NATIVE=build/sanitized LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=2 $(BIN)/python -m pytest tests/functional/kernels tests/bijections/test_native.py --ignore-glob "*/test_triton.py" --ignore-glob "*/test_build.py"

bench: .venv/.dev .venv-bench/.ready ## measure what the README shows: speed against other libraries, densities of toy sets (half an hour, quiet machine)
	.venv-bench/bin/python benchmarks/speed.py
	$(BIN)/python benchmarks/toys.py
	$(BIN)/python benchmarks/update_readme.py

bench-exactness: .venv/.dev ## round trips, kernels in float32, signed weights, NumPy beside PyTorch (quarter of an hour)
	$(BIN)/python benchmarks/round_trip.py
	$(BIN)/python benchmarks/kernel_errors.py
	$(BIN)/python benchmarks/signed_weights.py
	$(BIN)/python benchmarks/numpy_vs_torch.py

bench-practice: .venv/.dev ## anomalies, simulation-based inference, mixed tables, streams (about an hour, quiet machine; needs ../shared/data)
	$(BIN)/python benchmarks/anomaly.py
	$(BIN)/python benchmarks/sbibm.py two_moons --sbi two_moons
	$(BIN)/python benchmarks/mixed_tables.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/streaming.py

bench-events: .venv/.dev ## collision events and integrals against exact densities and VEGAS (about an hour; some need ../shared/data)
	for name in hep_muon_pairs hep_drell_yan hep_top_pairs hep_dijets hep_signed_jets integrals; do $(BIN)/python benchmarks/$$name.py || exit 1; done

bench-inference: .venv/.dev ## variational inference and images (about half an hour; some need ../shared/data)
	$(BIN)/python benchmarks/variational.py posteriors
	$(BIN)/python benchmarks/variational.py gaps
	$(BIN)/python benchmarks/images.py digits

docs: .venv/.dev ## build the documentation into docs/_build/html, running every tutorial
	$(MAKE) -C docs html PYTHON=../$(BIN)/python

clean: ## remove the virtual environment and everything generated
	$(MAKE) -C docs clean
	rm -rf .venv .venv-bench build dist runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[cli]"
	@touch $@

.venv/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@ .venv/.demo

.venv-bench/.ready: pyproject.toml benchmarks/requirements-bench.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --requirement benchmarks/requirements-bench.txt --editable .
	@touch $@
