PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVICE_VENV := .venv-service
WORKERS ?= auto
# Tests keep the groups of tests/conftest.py and start in order: the long ones begin first.
PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
WEB = service/api/explorer/web
EXAMPLES ?= 1000
SEED ?= $(shell date +%s)
PYTHONS ?= python3.12 python3.13
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help setup redis demo loop serve test fuzz check format lint types imports unit lock clean wheel \
	bench bench-pythons bench-training bench-overload bench-live bench-what-if bench-gpu chaos test-spark images sbom audit \
	test-stack docs \
	reference openapi test-clients explorer chromium test-browser bench-explorer screenshots

# Environments of the servers that `make bench` measures, by tests/bench/requirements.
HOTPATH = fastapi bentoml litserve mlserver ray

# Of the commit: equal sources give equal images.
STAMPS = SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
	REVISION=$$(git describe --always --dirty --abbrev=40 --exclude="*") \
	VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.done ## Make .venv with everything, from the lock

demo: setup ## Simulate, train, serve and rank; PORT= to choose, ONCE=1 to exit after the rankings, TEXTS=1
	@$(BIN)/python -m training demo $(if $(PORT),--port $(PORT)) $(if $(ONCE),--once) \
		$(if $(TEXTS),--texts)

loop: setup redis ## Serve simulated users for days, training on what they click; LOOP= more options
	$(BIN)/python -m training loop $(LOOP)

serve: setup ## Serve the models in models/ to anybody on this machine; settings: .venv/bin/python -m service --help
	@RANK_ACCESS=$${RANK_ACCESS:-open} $(BIN)/python -m service

test: setup redis $(SERVICE_VENV)/.done ## Run all tests, against a real Redis; WORKERS= processes, one a core
	$(BIN)/python -m pytest tests --ignore tests/bench --ignore tests/browser $(PARALLEL)

fuzz: setup redis ## Try many generated inputs, other ones in each run; EXAMPLES= a test, SEED= to repeat a run
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/fuzz $(PARALLEL) --hypothesis-seed=$(SEED)

check: format lint types imports unit ## Format, lint, types, import rules, unit and contract tests

format: setup
	$(BIN)/ruff format --check .

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

unit: setup
	$(BIN)/python -m pytest -q tests/unit tests/contract $(PARALLEL)

docs: setup ## Build the documentation in build/docs
	$(BIN)/python docs/tools/reference.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: setup ## Write docs/reference anew from the code
	$(BIN)/python docs/tools/reference.py

openapi: setup ## Write clients/openapi.json anew from the code, and the TypeScript client's types
	$(BIN)/python docs/tools/openapi.py
	cd clients/typescript && npm ci --silent && npm run --silent generate

test-clients: setup redis ## Check the TypeScript client and run it against a service; needs npm
	cd clients/typescript && npm ci --silent
	$(BIN)/python -m pytest tests/integration/clients/test_typescript.py

redis: setup ## Find a Redis server, or install one where this is root on Debian
	@if command -v redis-server > /dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		echo "installing redis-server from Debian's packages"; \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends redis-server) > /dev/null \
			|| echo "that failed; the server bundled in $(VENV) will do"; \
	else echo "no redis-server on the PATH: the one bundled in $(VENV) will do"; fi

chromium: ## Find Chromium, or install one where this is root on Debian
	@if command -v chromium > /dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		echo "installing chromium from Debian's packages"; \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends chromium) > /dev/null \
			|| echo "that failed: the tests of pages are skipped"; \
	else echo "no chromium on the PATH: the tests of pages are skipped"; fi

test-browser: setup redis chromium ## Run the tests of pages in a headless Chromium
	$(BIN)/python -m pytest tests/browser

explorer: $(WEB)/node_modules/.done ## Build the explorer page from service/api/explorer/web; needs npm
	@cd $(WEB) && npm run --silent check && npm run --silent build

$(WEB)/node_modules/.done: $(WEB)/package-lock.json
	@cd $(WEB) && npm ci --silent --no-audit --no-fund
	@touch $@

screenshots: setup redis chromium ## Take the pictures of the explorer in docs/ anew, from the demo
	PYTHONPATH=. $(BIN)/python docs/tools/screenshots.py

bench-explorer: setup redis chromium ## Measure the explorer's frames, first paint and bytes
	$(BIN)/python -m tests.bench.explorer

wheel: setup ## Build the wheel, with the compiled lookup of items, in build/wheels; needs a C compiler
	@rm -rf build/wheels build/lib* build/bdist*
	@$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--wheel-dir build/wheels .
	@$(PYTHON) -m zipfile --list build/wheels/*.whl | grep 'catalog/_lookup.*\.so' > /dev/null \
		|| (echo "the wheel lacks the compiled lookup: install a C compiler" && exit 1)

images: ## Build the images that docker-compose.yml names; WHEELS_DIR=, TORCH_INDEX= for PyTorch
	$(STAMPS) docker compose --profile '*' build

sbom: $(SERVICE_VENV)/.done ## List the packages of service and training as CycloneDX, in build/sbom
	@mkdir -p build/sbom
	@test -x build/sbom/tools/bin/cyclonedx-py || ($(PYTHON) -m venv build/sbom/tools \
		&& build/sbom/tools/bin/pip install -q cyclonedx-bom==7.5.0)
	build/sbom/tools/bin/cyclonedx-py environment $(SERVICE_VENV) --pyproject pyproject.toml \
		--output-reproducible --of JSON -o build/sbom/service.cdx.json
	build/sbom/tools/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml \
		--output-reproducible --of JSON -o build/sbom/training.cdx.json

audit: build/audit/bin/pip-audit ## Compare the lock files with published advisories
	@$(PYTHON) .ci/audit.py build/audit/bin/pip-audit requirements-service.lock requirements.lock \
		requirements-media.lock

build/audit/bin/pip-audit:
	@rm -rf build/audit && $(PYTHON) -m venv build/audit
	@build/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1

test-stack: setup ## Build, start, kill and stop the stack; STACK_EXEC= how to reach its ports
	$(STAMPS) STACK=1 $(STACK_EXEC) $(BIN)/python -m pytest tests/stack
	@cat build/stack/report.json

test-spark: setup build/spark-venv/.done ## Prepare raw logs on a local Spark and compare with polars; needs Java 17
	SPARK_PYTHON=$(CURDIR)/build/spark-venv/bin/python $(BIN)/python -m pytest \
		tests/integration/training/data/raw_log

build/spark-venv/.done: requirements.lock pyproject.toml
	@echo "setting up $(@D): about a minute"
	@rm -rf $(@D) && $(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[spark]'
	@touch $@

bench: setup redis $(HOTPATH:%=build/bench/%-venv/.done) ## Compare the hot path with other servers; BENCH= more options
	$(BIN)/python -m tests.bench.hotpath $(BENCH)

bench-training: setup build/bench/recbole-venv/.done build/bench/fuxictr-venv/.done ## Compare training with RecBole and FuxiCTR, openings of parts; BENCH=, RANKING= more options
	$(BIN)/python -m tests.bench.training_speed $(BENCH)
	$(BIN)/python -m tests.bench.ranking_speed $(RANKING)
	$(BIN)/python -m tests.bench.opening

bench-overload: setup redis ## Measure the service at and beyond its capacity; BENCH= more options
	$(BIN)/python -m tests.bench.overload $(BENCH)

bench-live: setup redis ## Measure how soon a live item is ranked; BENCH= more options
	$(BIN)/python -m tests.bench.live_items $(BENCH)

bench-gpu: setup build/bench/fuxictr-venv/.done ## Compare training on a GPU with FuxiCTR and a plain PyTorch loop; BENCH= more options
	$(BIN)/python -m tests.bench.gpu $(BENCH)

bench-pythons: setup redis $(PYTHONS:%=build/bench/%-venv/.done) ## Compare the hot path on other interpreters; PYTHONS="python3.12 python3.13", BENCH= more options
	$(BIN)/python -m tests.bench.hotpath --no-compare --further pythons --pythons $(PYTHONS) $(BENCH)

build/bench/python%-venv/.done: requirements-service.lock pyproject.toml
	@echo "setting up $(@D): about a minute"
	@rm -rf $(@D) && mkdir -p $(dir $(@D)) && python$* -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-service.lock
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

bench-what-if: setup build/bench/obp-venv/.done ## Study what-if's estimators, and compare them with obp; BENCH= more options
	$(BIN)/python -m tests.bench.what_if $(BENCH)

build/bench/obp-venv/.done: PIP_EXTRA = --ignore-requires-python
build/bench/%-venv/.done: tests/bench/requirements/%.txt
	@echo "setting up $(@D): about a minute"
	@rm -rf $(@D) && mkdir -p $(dir $(@D)) && $(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps $(PIP_EXTRA) -r $<
	@touch $@

chaos: setup redis ## Break the stack under load in twenty minutes, write docs/reliability.md; CHAOS= more options
	@if command -v haproxy > /dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		echo "installing haproxy from Debian's packages"; \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends haproxy) > /dev/null; fi
	$(BIN)/python -m tests.chaos $(CHAOS)
	$(BIN)/python -m tests.chaos --page

lock: ## Resolve requirements*.lock anew
	$(PYTHON) -m venv build/lock && build/lock/bin/pip install -q pip-tools==7.6.2
	build/lock/bin/pip-compile -q --strip-extras --no-emit-find-links --no-emit-index-url \
		--generate-hashes --allow-unsafe -o requirements-service.lock pyproject.toml
	build/lock/bin/pip-compile -q --strip-extras --no-emit-find-links --no-emit-index-url \
		--generate-hashes --allow-unsafe --extra otel -c requirements-service.lock \
		-o requirements-service-otel.lock pyproject.toml
	build/lock/bin/pip-compile -q --strip-extras --no-emit-find-links --no-emit-index-url \
		--allow-unsafe --extra training --extra media --extra otel --extra dev --extra docs \
		-c requirements-service.lock -o requirements.lock pyproject.toml
	sed -i 's/^torch==2.13.0+cpu/torch==2.13.0/' requirements.lock

clean: ## Remove environments and everything made
	rm -rf $(VENV) $(SERVICE_VENV) build

$(VENV)/.done: requirements.lock requirements-media.lock pyproject.toml service/catalog/_lookup.c
	@echo "setting up $(VENV): about a minute, most of it PyTorch"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-media.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(SERVICE_VENV)/.done: requirements-service.lock pyproject.toml service/catalog/_lookup.c
	@echo "setting up $(SERVICE_VENV): the service's packages, without PyTorch"
	@$(PYTHON) -m venv $(SERVICE_VENV)
	@$(SERVICE_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-service.lock
	@$(SERVICE_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@
