# `make demo` and `make test` do all their own set-up. Everything else: `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1
# How long a run waits for a Prefect API that is away, doubling pauses: about four minutes.
export PREFECT_CLIENT_MAX_RETRIES ?= 7
# Without byte code every start of Prefect costs seconds more.
unexport PYTHONDONTWRITEBYTECODE

ENVIRONMENTS := infra/environments
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
RECIPE ?= sample
REPEATS ?= 1
GPU_CASES := flow-kill flow-int cancelled worker-kill server-kill engine-kill awq-flow-kill awq-quantizer-kill \
  ahead-flow-kill ahead-flow-int ahead-loader-kill starting-flow-kill starting-engine-kill \
  loading-flow-kill loading-engine-kill timing-flow-kill timing-engine-kill
POOL ?= assay
ALL_DEPLOYMENTS = $(shell sed -n 's/^  - name: //p' prefect.yaml)

.PHONY: help
help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

# What runs need, and what checks and tests need besides.
$(VENV)/.runs: $(ENVIRONMENTS)/orchestrator.txt $(ENVIRONMENTS)/uv.txt pyproject.toml
	@if [ -e $(VENV)/.ready ]; then $(MAKE) --no-print-directory $(VENV)/.ready; \
	else PYTHON=$(PYTHON) LOCK=orchestrator bash infra/environments/bootstrap.sh $(VENV); fi
	@touch $@

$(VENV)/.ready: $(ENVIRONMENTS)/development.txt $(ENVIRONMENTS)/uv.txt pyproject.toml
	@PYTHON=$(PYTHON) bash infra/environments/bootstrap.sh $(VENV)
	@touch $@

.PHONY: demo
demo: $(VENV)/.runs  ## Quantize the sample model and report what it cost
	@$(RUN) -m deployments run sample

.PHONY: run
run: $(VENV)/.runs  ## Run a recipe here and now: make run RECIPE=qwen2.5-7b-instruct
	@$(RUN) -m deployments run $(RECIPE)

.PHONY: preflight
preflight: $(VENV)/.runs  ## Say what a recipe lacks on this machine: make preflight RECIPE=…
	@$(RUN) -m deployments preflight $(RECIPE)

.PHONY: verify
verify: $(VENV)/.runs  ## Check a report against its receipt: make verify REPORT=runs/…/report.json
	@$(RUN) -m deployments verify $(REPORT) $(if $(SEAL),--seal $(SEAL))

.PHONY: chat
# Here RUN is what the command line gives: the run.
chat: $(VENV)/.runs  ## Talk to a run's two models side by side: make chat RUN=runs/… BLIND=1
	@$(VENV)/bin/python -m deployments chat $(if $(filter command,$(origin RUN)),$(RUN)) \
	  $(if $(CANDIDATE),--candidate $(CANDIDATE)) $(if $(BLIND),--blind) $(if $(PORT),--port $(PORT))

.PHONY: history
history: $(VENV)/.runs  ## Show how runs went over time, and write runs/history.html and .csv anew
	@$(RUN) -m deployments history

.PHONY: gc
gc: $(VENV)/.runs  ## Say what old runs and caches could be freed; make gc DELETE=1 frees it
	@$(RUN) -m deployments gc $(if $(DELETE),--delete) $(GC)

.PHONY: doctor
doctor: $(VENV)/.runs  ## Say what is the matter with this machine, its store and its Prefect server
	@$(RUN) -m deployments doctor

.PHONY: ui
ui: $(VENV)/.runs  ## Open the Prefect UI on http://127.0.0.1:4200 (Ctrl-C ends it)
	@# In memory, as by default, slots of a deployment's limit stay taken when the server starts anew.
	@PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem $(VENV)/bin/prefect server start --host 127.0.0.1 --port 4200

.PHONY: deploy
deploy: $(VENV)/.runs  ## Register the deployments on the configured Prefect server: make deploy POOL=assay-gpu DEPLOYMENTS="candidates matrix"
	@$(VENV)/bin/prefect work-pool inspect $(POOL) >/dev/null 2>&1 || $(VENV)/bin/prefect work-pool create $(POOL) --type process
	@if [ $(POOL) = assay ] && [ -z "$(DEPLOYMENTS)" ]; then ASSAY_PROJECT=$(CURDIR) $(VENV)/bin/prefect --no-prompt deploy --all; \
	else for name in $(or $(DEPLOYMENTS),$(ALL_DEPLOYMENTS)); do ASSAY_PROJECT=$(CURDIR) $(VENV)/bin/prefect --no-prompt deploy --name $$name --pool $(POOL); done; fi
	@$(VENV)/bin/prefect automation inspect assay-run-lost >/dev/null 2>&1 || $(VENV)/bin/prefect automation create --from-file deployments/lost_runs.yaml

.PHONY: worker
worker: $(VENV)/.runs  ## Start a worker that carries out deployed runs: make worker POOL=assay-gpu
	@PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 $(VENV)/bin/prefect worker start --pool $(POOL)

.PHONY: check
check: $(VENV)/.ready  ## Lint, types, layers
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy && $(VENV)/bin/lint-imports

.PHONY: test
test: $(VENV)/.ready  ## Everything CI runs: checks, unit tests, true end-to-end runs
	@# Types are checked on one core while tests are collected. Not reordered: `tests/shared_servers.py`
	@# has the order.
	@$(MAKE) --no-print-directory check & checks=$$!; failed=0; \
	  $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long" --durations=25 --durations-min=15 || failed=$$?; \
	  wait $$checks || failed=$$?; exit $$failed

.PHONY: test-long
test-long: $(VENV)/.ready  ## Tests that take minutes and guard little that others do not
	@$(VENV)/bin/python -m pytest -m long

.PHONY: test-gpu
test-gpu: $(VENV)/.ready  ## With an NVIDIA GPU: a whole run, and kills: make test-gpu REPEATS=3
	@$(VENV)/bin/python -m pytest -m gpu
	@$(RUN) -m tests.chaos --device cuda --repeats $(REPEATS) --cases $(GPU_CASES)

.PHONY: chaos
chaos: $(VENV)/.ready  ## Hurt real runs in every way, show that nothing is left: make chaos REPEATS=3
	@$(RUN) -m tests.chaos --repeats $(REPEATS) $(if $(CASES),--cases $(CASES))

.PHONY: tasks
tasks: $(VENV)/.ready  ## Load every task of lm-eval, minutes long: what loads, what needs a hub or a package
	@$(RUN) -m tests.load_every_task

.PHONY: lock
lock: $(VENV)/.ready  ## Compile the locked requirements anew from *.in
	@bash infra/environments/lock.sh $(VENV)/bin/uv
