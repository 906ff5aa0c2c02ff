# Everything starts here. Needs Python >= 3.11, make, and a network for packages.
PYTHON ?= python3
UV := .tools/bin/uv
BIN := .venv/bin

# `make run DATA=… PORT=…` or SENECA_DATA=… SENECA_PORT=… make run; else what `seneca serve` does by itself.
ifdef DATA
export SENECA_DATA ?= $(DATA)
endif
ifdef PORT
export SENECA_PORT ?= $(PORT)
endif

.PHONY: help setup run test test-fast test-postgres check fix bench bench-rivals bench-postgres bench-hostile soak wrk chromium curl clean
.DEFAULT_GOAL := help

help: ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(UV):
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

.venv/.ready: $(UV) pyproject.toml uv.lock
	$(UV) sync --quiet --locked --python $(PYTHON)
	@touch $@

setup: .venv/.ready ## install everything into .venv

run: setup ## serve on port 3000, with demo data in an empty database
	@$(BIN)/seneca demo --if-empty
	@exec $(BIN)/seneca serve

test: setup chromium curl ## run every test, and on PostgreSQL those that an engine can tell apart
	$(BIN)/pytest
	$(BIN)/pytest --engine postgres -m "not http and not slow" $(ENGINES_APART)

# What most depends on the engine: statements that many rows, races, faults or moves between engines put to the test.
ENGINES_APART = tests/history $(addprefix tests/test_, backup.py citus.py concurrency.py erased_postgres.py export.py figures.py \
  import_load.py import_study.py keys.py kills.py migrations.py oulad.py postgres.py postgres_connection_errors.py postgres_faults.py \
  postgres_locks.py reference.py refresh.py retain.py \
  session_batch.py session_correct.py session_races.py timeouts.py totals.py)

test-fast: setup ## run a cross-section of the tests in less than a minute: no kills, attacks, long loads or browser
	$(BIN)/pytest -m "not slow" $(CROSS_SECTION)

# What takes few servers: each worker starts one for all tests of operations, and commands run in process.
CROSS_SECTION = $(addprefix tests/test_, authorisation.py bad_input.py exchange_doc.py import.py import_formats.py ledger.py logout.py \
  me.py password.py prose.py query_plans.py security_doc.py settings.py shell.py units.py users_list.py users_one.py writer.py \
  course_change.py course_create.py course_delete.py course_list.py course_one.py \
  session_end.py session_one.py session_start.py session_update.py \
  stats_course.py stats_course_session.py stats_sessions.py stats_user.py stats_user_course.py \
  stats_user_course_session.py stats_user_sessions.py stats_users.py)

test-postgres: setup ## run every test on PostgreSQL 18, and on 15 where it is installed
	$(BIN)/pytest --engine postgres
	if test -x /usr/lib/postgresql/15/bin/postgres; then $(BIN)/pytest --engine postgres-15; fi

check: setup ## format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(UV) lock --check --quiet

fix: setup ## format, and fix what ruff can fix
	$(BIN)/ruff check --fix --unsafe-fixes .
	$(BIN)/ruff format .

bench: setup wrk ## measure, and print a table
	$(BIN)/python -m bench

bench-rivals: setup wrk ## the same beside PocketBase
	$(BIN)/python -m bench --rivals

bench-postgres: setup wrk ## the same on PostgreSQL, beside pgbench with the update's own statements
	$(BIN)/python -m bench --postgres

bench-hostile: setup ## how others fare while slow and greedy clients attack
	$(BIN)/python -m bench.hostile

soak: setup ## the long tests, by hand: thousands of histories, 10,000 power cuts, 250 kills, hundreds of requests to each route
	HISTORY=soak $(BIN)/pytest tests/history
	CUTS=10000 $(BIN)/pytest tests/test_power.py
	FAULTS=200 $(BIN)/pytest tests/test_kills.py
	FAULTS=50 $(BIN)/pytest --engine postgres tests/test_kills.py
	FAULTS=20 $(BIN)/pytest --engine postgres tests/test_postgres_faults.py
	SCHEMATHESIS_EXAMPLES=300 $(BIN)/pytest tests/test_openapi.py

wrk: ## the load generator, a Debian package
	@command -v wrk >/dev/null || $(APT) install --yes --quiet wrk

chromium: ## the browser of the tests, a Debian package
	@command -v chromium >/dev/null || $(APT) install --yes --quiet --no-install-recommends chromium

APT = sh -c 'run=; [ "$$(id -u)" = 0 ] || run=sudo; $$run apt-get update -q && exec $$run env DEBIAN_FRONTEND=noninteractive apt-get "$$@"' apt-get

curl: ## what the README's tour runs with
	@command -v curl >/dev/null || $(APT) install --yes --quiet curl

clean: ## remove what was made (not the data)
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build
