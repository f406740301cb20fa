# One target per thing people do. `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

DISTRIBUTIONS := libs/chunkproto libs/servicekit services/uploader services/downloader services/registry operator cli
STAMP := $(VENV)/.installed
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links
NOT_LOCKED := $(foreach d,chunkproto servicekit uploader downloader registry operator,--no-emit-package penstock-$d) --no-emit-package penstock
# Each image has a lock of its own, and so has what their build stages need. All take their versions from dev.lock.
IMAGES := uploader downloader registry operator broker
# What only tests/e2e runs.
TEST_IMAGES := test-postgres test-prometheus
BUILD ?= docker build
LOAD ?=
VERSION = $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' cli/pyproject.toml)
INPUTS := requirements/install.lock requirements/dev.lock $(DISTRIBUTIONS:%=%/pyproject.toml)

.PHONY: help
help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(STAMP) ## Set everything up in .venv (a second time takes no time)

$(STAMP): $(INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Penstock needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name a newer one: make PYTHON=python3.12 install")'
	@echo "Installing into $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/install.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/install.lock requirements/dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(DISTRIBUTIONS:%=--editable %)
	@touch $@

.PHONY: demo
demo: install ## Watch real files stream through a real Kafka
	@$(BIN)/penstock demo

.PHONY: test
test: install ## Run all tests that need no cluster (a real Kafka included)
	$(BIN)/python -m pytest -m "not long and not cluster and not skaffold" -n 4 --dist loadgroup --ignore tests/browser
	@# Apart: a browser's driver keeps an event loop running in its process, where no other can run.
	$(BIN)/python -m pytest -m "not long and not cluster and not skaffold" -n 4 --dist loadgroup tests/browser

.PHONY: test-long
test-long: install ## Run the tests that take gigabytes or many minutes
	$(BIN)/python -m pytest -m "long and not cluster"

.PHONY: test-cluster
test-cluster: install ## Run the tests that need a Kubernetes cluster (E2E_KUBECONFIG names its kubeconfig)
	$(BIN)/python -m pytest -m "cluster and not two_nodes"

.PHONY: e2e
e2e: install ## Run tests/e2e on a cluster made for it with kind, or on E2E_KUBECONFIG's with images by BUILD and LOAD
ifeq ($(E2E_KUBECONFIG),)
	@IMAGES='$(IMAGES) $(TEST_IMAGES)' tests/e2e/kind/run $(BIN)/python -m pytest -m cluster tests/e2e
else
	@$(MAKE) --no-print-directory images IMAGES='$(IMAGES) $(TEST_IMAGES)'
	@test -z '$(LOAD)' || $(LOAD) $(patsubst %,penstock/%:$(VERSION),$(IMAGES) $(TEST_IMAGES))
	@# It may have one node, and a network that knows no NetworkPolicies.
	$(BIN)/python -m pytest -m "cluster and not two_nodes" tests/e2e
endif

.PHONY: kind
kind: ## Make the cluster of `make e2e`, with all images, and leave it (CONTRIBUTING.md says what for)
	@KEEP=1 IMAGES='$(IMAGES) $(TEST_IMAGES)' tests/e2e/kind/run true

.PHONY: test-skaffold
test-skaffold: install ## Let Skaffold read skaffold.yaml and render the chart (needs skaffold and helm)
	$(BIN)/python -m pytest -m skaffold tests/delivery

.PHONY: test-portable
test-portable: install ## Run the tests of what also runs on Windows and macOS
	$(BIN)/python -m pytest libs services/uploader cli

.PHONY: lint
lint: install ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

.PHONY: format
format: install ## Format the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: docs
docs: install ## Write what is generated from the code: reference pages, schemas, the CRD
	$(BIN)/python -m reference

.PHONY: dashboards
dashboards: install ## Write the chart's Grafana dashboards from their code
	$(BIN)/python -m dashboards

.PHONY: site
site: docs ## Build the documentation's site into site/ (serve it: python3 -m http.server --directory site)
	$(BIN)/zensical build --strict

.PHONY: lock
lock: ## Choose versions anew and write the hashed lock files
	$(LOCK) requirements/install.in -o requirements/install.lock
	$(LOCK) requirements/dev.in -o requirements/dev.lock $(NOT_LOCKED)
	@$(MAKE) --no-print-directory lock-images

.PHONY: lock-images
lock-images: ## Write the images' lock files anew, with the versions of dev.lock
	for name in $(IMAGES) build jars; do \
	  $(LOCK) requirements/$$name.in --constraint requirements/dev.lock -o requirements/$$name.lock $(NOT_LOCKED) || exit 1; \
	done

.PHONY: images
images: ## Build all container images (BUILD='podman build' chooses another builder, IMAGES='uploader' some)
	@images/build '$(BUILD)' $(IMAGES)

.PHONY: clean
clean: ## Remove what was built and installed here
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache site
