# What one can do here. Everything lives under .venv and .lamplight; neither is committed.
.DEFAULT_GOAL := help
.PHONY: help up down reset status test check bench evaluate faults fuzz lock
SHELL := bash
# What Python compiled is kept: without that every command and service compiles its libraries anew, a second each.
unexport PYTHONDONTWRITEBYTECODE

READY := .venv/.ready
LAMPLIGHT := .venv/bin/lamplight
PYTEST := .venv/bin/python -m pytest

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

up: $(READY) ## start everything, with the demo; prints one address and the sign-ins
	@$(LAMPLIGHT) up

down: $(READY) ## stop exactly what up started; the data stays
	@$(LAMPLIGHT) down

reset: $(READY) ## stop and forget: data, logs, certificates, ports
	@$(LAMPLIGHT) reset

status: $(READY) ## what is up, and what it has done
	@$(LAMPLIGHT) status

test: $(READY) ## every test, on a throw-away stack of its own
	@$(LAMPLIGHT) install --browser
	$(PYTEST) -m "not bench and not evaluation" $(ARGS)

check: $(READY) ## format, lint, types, architecture
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	$(PYTEST) -q tests/architecture

bench: $(READY) ## how fast, as ratios in one run
	@$(LAMPLIGHT) install
	$(PYTEST) -s -m bench tests/bench $(ARGS)

evaluate: $(READY) ## how well the scorer does on real series
	$(PYTEST) -s -m evaluation tests/evaluation $(ARGS)

faults: $(READY) ## kill, freeze and cut while it works; each kill FAULT_ROUNDS=10 times
	@$(LAMPLIGHT) install
	FAULT_ROUNDS=$(or $(FAULT_ROUNDS),10) $(PYTEST) -s -m fault tests/faults $(ARGS)

fuzz: $(READY) ## look for new examples: every property a thousand times, every decoder by coverage; SECONDS_OF_FUZZ=60
	$(PYTEST) -q --hypothesis-profile=search tests/unit tests/contract $(ARGS)
	.venv/bin/python -m tests.contract.fuzz_decoders --seconds $(or $(SECONDS_OF_FUZZ),60)

lock: $(READY) ## renew requirements.lock from pyproject.toml
	.venv/bin/uv pip compile --quiet --universal --upgrade --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 --extra dev --extra native pyproject.toml -o requirements.lock

$(READY): requirements.lock pyproject.toml
	@deploy/native/bootstrap.sh
