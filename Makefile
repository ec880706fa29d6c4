# `make run` and `make demo` need Python 3.11 to 3.13 and nothing else; they set .venv up first.

# The first Python that TensorFlow has wheels for.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$python && break; \
	done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SHIPPED := gateway embedded trainer object-stores mlflow
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links
# The checkers of Terraform, Kubernetes and pipelines, whose dependencies are not the code's.
INFRASTRUCTURE := .infrastructure
# The gateway with Evidently, which cannot be imported beside the trainer's pandas.
EVIDENTLY := .evidently

.DEFAULT_GOAL := help
.PHONY: help setup run monitor demo demo-drift demo-rollout train mlflow test images screenshots lint terraform-check kubernetes-check loadtest loadtest-smoke bench bench-own bench-peers soak swap evidently format protos baseline client lock lock-check clean

help: ## Show what can be made.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 17

setup: $(READY) ## Set .venv up, which every other target does by itself.

run: $(READY) ## Train if there is no model, serve it, ask it about real digits, keep serving until Ctrl-C.
	@$(BIN)/python -m stack run

monitor: $(READY) ## Run Prometheus, with the alerts, on what `make run` runs; needs Prometheus.
	@$(BIN)/python -m stack.monitor

demo: $(READY) ## The same, but end after the answers: status 0 if at least 9 of 10 digits are right.
	@$(BIN)/python -m stack demo

demo-drift: $(READY) ## Clean, inverted and noisy digits: what the gateway says of drift; status 0 if it is right.
	@$(BIN)/python -m stack demo-drift

demo-rollout: $(READY) ## Publish a good and a worse version under traffic: one is promoted, the other rolled back.
	@$(BIN)/python -m stack.rollout_demo

train: $(READY) ## Train the digits model and publish it as the next version.
	@$(BIN)/python -m trainer train

mlflow: $(READY) ## Show the local runs and registered models in a browser, on port 5000 of this machine alone.
	@mkdir -p var/mlflow
	@MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow server --host 127.0.0.1 --port 5000 \
		--backend-store-uri sqlite:///$(CURDIR)/var/mlflow/mlflow.db --default-artifact-root file://$(CURDIR)/var/mlflow/artifacts

test: $(READY) ## Run all tests.
	@# What fails beside another process, on a busy machine, has to pass by itself.
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile || $(BIN)/python -m pytest --last-failed

images: $(READY) ## Build the gateway's and the embedded server's images whole and run them; needs Docker.
	TENSORGATE_IMAGES=1 $(BIN)/python -m pytest tests/images

screenshots: $(READY) ## Take the pictures of the console in docs/ again; needs Chromium.
	TENSORGATE_SCREENSHOTS=docs $(BIN)/python -m pytest tests/integration/test_console.py

lint: $(READY) terraform-check kubernetes-check ## Check formatting, lint, types, protos, import arrows, Terraform, Kubernetes, workflows.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code && ../$(BIN)/buf breaking --against baseline.binpb
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python protos/generate.py --check
	$(BIN)/zizmor --offline --quiet .github
	$(INFRASTRUCTURE)/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(INFRASTRUCTURE)/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(INFRASTRUCTURE)/bin/check-jsonschema --quiet --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(INFRASTRUCTURE)/bin/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(INFRASTRUCTURE)/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml compose.embedded.yaml
	$(INFRASTRUCTURE)/bin/check-jsonschema --quiet --builtin-schema vendor.gitlab-ci .gitlab-ci.yml

terraform-check: $(INFRASTRUCTURE)/.ready ## Validate, test, apply and destroy all of terraform/, offline where tfcheck lies beside the checkout.
	@command -v terraform >/dev/null || { echo "skipped: terraform is not installed"; exit 0; }; \
	CHECKOV="$(CURDIR)/$(INFRASTRUCTURE)/bin/checkov" terraform/check.sh

kubernetes-check: $(INFRASTRUCTURE)/.ready ## Build the Kubernetes overlays and hold them against the API's schemas.
	@command -v kubectl >/dev/null || { echo "skipped: kubectl is not installed"; exit 0; }; \
	VALIDATE="$(CURDIR)/$(INFRASTRUCTURE)/bin/kubernetes-validate" kubernetes/check.sh

loadtest: $(READY) ## Open Locust's page against a stack of its own.
	@$(BIN)/python -m loadtest page

loadtest-smoke: $(READY) ## A load of half a minute that must hold loadtest/thresholds.yaml, with a report.
	@$(BIN)/python -m loadtest smoke

bench: bench-own bench-peers ## What a call costs, side by side, here and with what others would pick; needs h2load (nghttp2-client).

bench-own: $(READY) ## The gateway on both transports, and the embedded server.
	@$(BIN)/python -m loadtest.bench
	@$(BIN)/python -m loadtest.bench.embedded

bench-peers: $(READY) ## Servers beside MLServer, KServe, Triton …, each installed from PyPI: docs/benchmarks.md; 90 minutes at most.
	@$(BIN)/python -m loadtest.bench.peers --json docs/benchmarks.json --page docs/benchmarks.md

soak: $(READY) ## Ten minutes of even load on each transport, at 0.7 of what it bears: no call may fail, no memory stay.
	@$(BIN)/python -m loadtest.bench.soak

swap: $(READY) ## A minute of load while ten versions are published in turn: no call may fail, no memory stay.
	@$(BIN)/python -m loadtest.swap --batching

evidently: $(EVIDENTLY)/.ready ## Set .evidently up, whose Python can do `python -m gateway report … --evidently DIRECTORY`.

format: $(READY) ## Format the sources.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cd protos && ../$(BIN)/buf format --write

protos: $(READY) ## Make the stubs again from the .proto files.
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python protos/generate.py

baseline: $(READY) ## At a release: what the next changes to the .proto files must not break.
	cd protos && ../$(BIN)/buf build --output baseline.binpb

client: $(READY) ## Build the client's wheel into dist/.
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

lock: $(READY) ## Pin the dependency groups again, each with hashes; UPGRADE=1 takes newer versions.
	$(BIN)/$(COMPILE) $(if $(UPGRADE),--upgrade) --group dev --output-file requirements/dev.txt
	@# What ships has the versions that were tested.
	for group in $(SHIPPED); do $(BIN)/$(COMPILE) --constraint requirements/dev.txt --group $$group \
		--output-file requirements/$$group.txt || exit 1; done
	@# Not under dev.txt: pandas 3 is there.
	$(BIN)/$(COMPILE) $(if $(UPGRADE),--upgrade) --constraint requirements/gateway.txt --group evidently \
		--output-file requirements/evidently.txt
	$(BIN)/$(COMPILE) $(if $(UPGRADE),--upgrade) --group infrastructure --output-file requirements/infrastructure.txt

lock-check: lock ## Fail if requirements/ is not what pyproject.toml asks for.
	git diff --exit-code requirements

clean: ## Remove what was set up, trained and built.
	rm -rf $(VENV) $(INFRASTRUCTURE) $(EVIDENTLY) var dist

$(READY): requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "tensorgate needs Python 3.11 to 3.13 (python3, or PYTHON=…)"; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) …"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(INFRASTRUCTURE)/.ready $(EVIDENTLY)/.ready: .%/.ready: requirements/%.txt
	@test -n "$(PYTHON)" || { echo "tensorgate needs Python 3.11 to 3.13 (python3, or PYTHON=…)"; exit 1; }
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r $<
	@touch $@
