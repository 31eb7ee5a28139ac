# Every target first makes sure that the virtual environment has exactly the locked packages.
#
#   make run      the whole system on this machine, with demo documents
#                 STATE=dir DOCS=n SEED=n EXIT=1 DEADLINE=seconds
#                 SOURCE=url puts the documents into your own empty database, for example SQL
#                 Server: SOURCE='mssql+pyodbc://sa:PASSWORD@127.0.0.1/demo?Encrypt=optional'
#   make faults   faults injected into the running system; proves that nothing is lost or sent twice
#                 STATE=dir DOCS=n SEED=n SCENARIO=name[,name]
#   make bench    compare this project with a stock Prefect dispatch, Celery and a bare loop
#                 STATE=dir DOCS=n LATENCY=ms[,ms] WAYS=name[,name] STEADY=rate[,rate] STEADY_SECONDS=n
#                 IDLE=seconds
#                 SMALL=1 keeps it short; GROWTH=1 measures growth with the backlog instead,
#                 CONSOLE=1 the web console with a million documents;
#                 PROFILE=1 shows where CPU time is spent and the effect of Prefect settings
#   make test     unit, property, integration and end-to-end tests, in PROCESSES (2) parallel processes;
#                 ARGS=... for pytest
#   make lint     check style, types and words
#   make audit    scan our code for weaknesses and our packages for known vulnerabilities
#   make fuzz     fuzz answers and documents, each for FUZZ_SECONDS (20)
#   make format   correct style
#   make docs     write docs/settings.md, .env.example and docs/answers.md from the code
#   make messages bring the Vietnamese catalogue of `dqg` up to date with its texts, and compile it
#   make pictures take the screenshots of docs/images again; needs a Chromium
#   make lock     recompile requirements.txt and requirements-dev.txt from pyproject.toml
#   make clean    remove everything that the other targets created
#
# PYTHON=... chooses the interpreter of the environment.

.PHONY: setup run faults bench test lint audit fuzz format docs messages pictures lock clean

VENV := .venv
BIN := $(VENV)/bin
SOURCES := flows tasks lib deployments tests
RINGS := tests/unit tests/properties tests/integration tests/e2e
PYTEST = $(BIN)/python -m pytest --numprocesses=$(PROCESSES) --dist=loadfile --no-loadscope-reorder

PYTHON ?=
STATE ?=
SOURCE ?=
DOCS ?=
SEED ?=
EXIT ?=
DEADLINE ?=
SCENARIO ?=
LATENCY ?=
WAYS ?=
STEADY ?=
STEADY_SECONDS ?=
IDLE ?=
GROWTH ?=
CONSOLE ?=
SMALL ?=
PROFILE ?=
ARGS ?=
PROCESSES ?= 2
FUZZ_SECONDS ?= 20

export STATE SOURCE DOCS SEED EXIT DEADLINE SCENARIO
export LATENCY WAYS STEADY STEADY_SECONDS IDLE GROWTH CONSOLE SMALL

run: setup
	@$(BIN)/python -m deployments.local

faults: setup
	@$(BIN)/python -m tests.faults

bench: setup
	@$(BIN)/python -m tests.benchmarks $(if $(filter 1,$(PROFILE)),profile)

test: setup
	$(if $(ARGS),$(PYTEST) $(if $(filter tests/%,$(ARGS)),,$(RINGS)) $(ARGS),$(PYTEST) tests/unit tests/properties --cov --cov-report=term)
	$(if $(ARGS),,$(PYTEST) tests/integration tests/e2e)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(BIN)/python -m tests.maintenance.words

audit: setup
	$(BIN)/bandit --quiet --configfile pyproject.toml --severity-level medium --recursive \
		flows tasks lib deployments
	@$(BIN)/python -m tests.maintenance.audit

fuzz: setup
	@$(BIN)/python -m tests.properties.fuzz $(FUZZ_SECONDS)

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: setup
	@$(BIN)/python -m tests.maintenance.settings_docs --write
	@$(BIN)/python -m tests.maintenance.answer_docs --write

messages: setup
	@$(BIN)/python -m tests.maintenance.messages

pictures: setup
	@$(BIN)/python -m tests.renew_pictures

lock: setup
	@$(BIN)/python -m tests.maintenance.lock

clean:
	rm -rf $(VENV) .state .state-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

setup:
	@PYTHON="$(PYTHON)" .ci/install $(VENV)
