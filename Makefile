# SPDX-License-Identifier: Apache-2.0
# Every target sets up .venv first; that takes a moment only when something it depends on has changed.

.DEFAULT_GOAL := help
BIN := .venv/bin
PYTHON_CODE := src tests bench
# Two processors have work for four: tests often wait for a kernel or for another process.
WORKERS := 4
# Tests start thousands of programs: with compiled modules, each starts in half the time.
unexport PYTHONDONTWRITEBYTECODE
SECONDS := 600
START := 1000000

.PHONY: help setup demo test test-long fuzz fuzz-packets test-kubernetes test-kubectls test-sessions lint bench bench-kubernetes format lock wheel image release site helm kubectl install-yaml clean distclean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  make %-16s %s\n' "$$name" "$$text"; done

setup: ## make .venv with the pinned tools and podfence itself
	@sh scripts/setup

demo: setup ## show a small shop in a lab: what the engine answers, and what packets do
	@sh scripts/demo

test: setup ## run all tests and measure coverage; ARGS='-k name' is passed on to pytest
	@sh scripts/kubectl >/dev/null || echo "The tests that need kubectl cannot run"
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS) --dist worksteal $(ARGS)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-long: setup ## run all tests, with many more random examples and new ones, and without measuring coverage
	PODFENCE_LONG=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

fuzz: setup ## look for new cases against the slow twin, at random, until one fails or 5,000 each have passed
	PODFENCE_EXAMPLES=5000 $(BIN)/python -m pytest -n 2 tests/analysis tests/policy $(ARGS)

fuzz-packets: setup ## compare engine, twin and real packets on random clusters, and send random frames, for SECONDS=600 each; needs root
	$(BIN)/python -m tests.attacks.fuzz --seconds $(SECONDS) --start $(START)
	$(BIN)/python -m tests.dataplane.fuzz --seconds $(SECONDS) --connections 200000 $(ARGS)

test-kubernetes: setup ## run the tests on a real Kubernetes that is built and started for them; needs root, Debian 12 and Go
	@tests/kubernetes/bed/packages.sh
	@test -f dist/podfence-image.tar || sh scripts/image
	env -u KUBECONFIG PODFENCE_KUBERNETES=1 $(BIN)/python -m pytest tests/kubernetes -n 0 -v $(ARGS)

test-sessions: setup ## type the tutorial's recipes into the cluster of your KUBECONFIG; needs kubectl, and an enforcer there
	PODFENCE_KUBERNETES=1 KUBECONFIG=$${KUBECONFIG:-$$HOME/.kube/config} $(BIN)/python -m pytest tests/kubernetes/sessions -n 2 $(ARGS)

test-kubectls: setup ## try what kubectl can do in labs with each of KUBECTLS='1.34.2 /usr/bin/kubectl', and write it down
	$(BIN)/python -m tests.lab.versions $(KUBECTLS)

lint: setup ## check style, types and imports; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PYTHON_CODE)
	$(BIN)/lint-imports --no-logo

bench: setup ## measure the engine; ARGS are passed on
	$(BIN)/python -m bench $(ARGS)

bench-kubernetes: setup ## measure the agents on a real Kubernetes; needs what test-kubernetes needs; ARGS are passed on
	@tests/kubernetes/bed/packages.sh
	@test -f dist/podfence-image.tar || sh scripts/image
	$(BIN)/python -m bench.kubernetes $(ARGS)

format: setup ## put the code into the house style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

COMPILE := uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links

lock: setup ## pin the newest versions of all dependencies: the .lock files in requirements/
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/$(COMPILE) --extra agent --output-file requirements/dev.lock pyproject.toml requirements/dev.txt
	$(BIN)/$(COMPILE) --extra agent --constraint requirements/dev.lock --output-file requirements/agent.lock pyproject.toml
	$(BIN)/$(COMPILE) --constraint requirements/dev.lock --output-file requirements/site.lock requirements/site.txt
	$(BIN)/$(COMPILE) --constraint requirements/dev.lock --output-file requirements/release.lock requirements/release.txt

wheel: setup ## build dist/podfence-*.whl
	$(BIN)/hatchling build --target wheel --directory dist

image: setup ## build dist/podfence-image.tar, the image of the agent, from Debian packages; needs root, mmdebstrap and buildah
	@sh scripts/image

release: setup ## make everything that is released of this commit, in dist/release; needs what `make image` needs, and helm
	@sh scripts/release $(ARGS)

site: setup ## build the documentation as a site, build/site; links that lead nowhere are errors
	@sh scripts/site

helm: ## print the helm to use: the one on PATH, or build/bin/helm, built from its Go module if need be
	@sh scripts/helm

kubectl: ## print the kubectl to use: the one on PATH, or build/bin/kubectl, built from its Go module if need be
	@sh scripts/kubectl

install-yaml: ## write deploy/install.yaml anew from the chart
	@sh scripts/install-yaml

clean: ## remove what the targets made, except .venv
	rm -rf dist build/image build/site build/site-read build/chart .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests bench -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf .venv build/bin
