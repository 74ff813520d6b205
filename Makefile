# Six verbs and a few more; each says what it does. Nothing here needs root, Docker or Node.
PYTHON ?= python3
BROKER ?= nats
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: help setup run demo test check fix bench shots picture services services-stop

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

# A stamp is newer than pyproject.toml exactly when the environment holds what it asks for.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Eventflow needs Python 3.11 or later as '$(PYTHON)'. Install it, or name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || { \
	  echo "Python's venv module is missing. Install it (Debian: apt install python3-venv) and try again." >&2; exit 1; }
	@echo "Installing what '$(1)' needs into $(VENV), once …"
	@$(PY) -m pip install --quiet --disable-pip-version-check '.[$(1)]'
	@touch $@
endef

# Tried once per change of its source; without a compiler it says so and Eventflow goes on in plain Python.
SCANNER := collectors/otlp/scan
define native
	@test $(VENV)/native -nt $(SCANNER)/_wire.pyx -a $(VENV)/native -nt eventflow/store/spans/_arrays.pyx || { $(PY) -P $(SCANNER)/build.py && touch $(VENV)/native; }
endef

$(VENV)/ready-demo: pyproject.toml
	$(call install,demo)

$(VENV)/ready-dev: pyproject.toml
	$(call install,dev)

setup: $(VENV)/ready-dev ## make .venv with everything for developing
	$(native)

run: $(VENV)/ready-demo ## Eventflow alone; keeps its data in .eventflow (EVENTFLOW_DATA)
	$(native)
	@exec $(PY) manage.py up

demo: $(VENV)/ready-demo ## Eventflow with a real shop beside it, afresh each time (BROKER=kafka, rabbitmq or redis for another broker)
	$(native)
	@exec $(PY) manage.py demo --broker $(BROKER)

test: setup ## the tests; those that need a service which is not here skip and say so
	@$(PY) -m pytest

check: setup ## linters, types, import rules, migrations
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/djlint --lint --quiet templates
	@$(PY) manage.py makemigrations --check --dry-run

fix: setup ## let the linters mend what they can
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

bench: setup ## the short form of every published figure
	@$(PY) -m benchmarks

services: setup ## real brokers and databases on loopback, installed where needed; says where they are
	@$(PYTHON) tests/install_services.py kafka nats postgres rabbitmq redis
	@$(PY) -m tests.running_services start

services-stop: ## end what 'make services' started
	@test ! -x $(PY) || $(PY) -m tests.running_services stop

shots: setup ## a screenshot of every page (light, dark, 390 px) into shots/; needs Chromium
	@$(PY) -m tests.journeys.shots

picture: setup ## README's picture, demo/topology.png, anew; needs Chromium
	@$(PY) -m tests.journeys.shots --picture
