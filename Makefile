# Everything that is done with a fresh clone. Needs python3.11 with venv, git and make; all else goes to .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
JOBS ?= 2
COUNT ?= 1000000
SEED ?= 0
SEEDS ?= 10000

BIN := .venv/bin
# A default editable install hides twisted/plugins behind a finder, and `twistd atbus` would not be found.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat

# Tests and the demo start hundreds of processes, and each would compile all that it imports: half as much time again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check lint docs fuzz fuzz-long chaos chaos-shm simulate bench clean
.DEFAULT_GOAL := run

run: .venv/stamp-run  ## a cross-region bus of real processes on this machine, with a verdict
	$(BIN)/atbus demo

test: .venv/stamp-dev  ## every test, in JOBS processes (JOBS=1: in this one; MUTATE=1: those of attacks, each without its defence)
	$(BIN)/python -m $(if $(MUTATE),tests.security.mutate,twisted.trial $(if $(filter-out 1,$(JOBS)),-j$(JOBS)) tests)

check: lint test docs  ## all that has to be clean before a change is offered; the house rules are tests

lint: .venv/stamp-dev  ## ruff, the contracts between the layers, and mypy, strict
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

docs: .venv/stamp-dev  ## the manual and the API reference in build/docs; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/docs

FUZZ := $(BIN)/python -m atbus.testing.fuzz --corpus tests/testing/corpus.txt --keep build/fuzz-findings.txt

fuzz: .venv/stamp-dev  ## the kept inputs and COUNT hostile ones for every parser that faces others: a minute
	$(FUZZ) --count $(COUNT) --seed $(SEED)

fuzz-long: .venv/stamp-dev  ## 100 M of them, of SEED: two hours; after Ctrl-C it goes on where it was
	$(FUZZ) --count 100000000 --seed $(SEED) --progress 60 --resume build/fuzz-long.json

chaos: .venv/stamp-dev  ## the tests of killed, frozen and starved processes, at length: some hours
	ATBUS_CHAOS=long $(BIN)/python -m twisted.trial tests.chaos tests.simulation \
		tests.processes.test_silence tests.processes.test_flow_control tests.processes.test_lane_kills \
		tests.processes.test_lane_ends tests.processes.test_fifty tests.processes.test_flood \
		tests.node.test_better_stream tests.cli.demo.test_demo

chaos-shm: .venv/stamp-dev  ## shared memory alone: 10,000 killed writers and readers, 1 M damaged lanes, 32 writers at once
	ATBUS_CHAOS=long $(BIN)/python -m twisted.trial tests.chaos.test_lanes

simulate: .venv/stamp-dev  ## storms over buses, subscribers and route tables, SEEDS of each (500, or 1000-1999); the largest buses
	$(BIN)/python -m atbus.testing.bus_storm --seeds $(SEEDS)
	$(BIN)/python -m tests.simulation.subject_storm --seeds $(SEEDS)
	$(BIN)/python -m atbus.testing.route_storm --seeds $(SEEDS)
	ATBUS_LONG=1 $(BIN)/python -m twisted.trial tests.simulation.test_route_scale

bench: .venv/stamp-bench  ## how fast it is, beside its peers: build/bench.json (QUICK=1: a rough look, PUBLISH=1: into the manual)
	$(BIN)/python -m benchmarks.runner $(if $(QUICK),--quick) $(if $(PUBLISH),--publish)
	$(BIN)/python -m benchmarks.topology $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.services $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.lane_memory $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.idle_peer $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.loop_lag $(if $(QUICK),--quick)

clean:  ## forget what was built; .venv stays
	rm -rf build dist _trial_temp* .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage*

# One environment, two stamps: to see it run takes the runtime alone, which is quick.
.venv/stamp-run: setup.cfg pyproject.toml
	test -e $(BIN)/pip || $(PYTHON) -m venv .venv
	$(INSTALL) -e ".[cli]"
	touch $@

.venv/stamp-dev: setup.cfg pyproject.toml
	test -e $(BIN)/pip || $(PYTHON) -m venv .venv
	$(INSTALL) -e ".[cli,dev]"
	touch .venv/stamp-run $@

# The peers. Of nats-server the one on the PATH is measured: without it, the run says that it is absent.
.venv/stamp-bench: setup.cfg pyproject.toml
	test -e $(BIN)/pip || $(PYTHON) -m venv .venv
	$(INSTALL) -e ".[cli,bench]"
	touch .venv/stamp-run $@
