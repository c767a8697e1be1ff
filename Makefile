# Every target does its own set-up: a fresh machine needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# EXTRAS=test,ray also installs Ray, and the tests then run on it, too.
EXTRAS ?= test
# Without a network it is known soon that there is none.
APT := -o Acquire::Retries=0 -o Acquire::http::Timeout=10
TEST_READY := $(VENV)/.ready-$(EXTRAS)

.PHONY: train test browser test-portable test-slow lint types docs bench bench-check chaos clean

train: $(READY)  ## train PPO on CartPole; the same command continues an interrupted run
	@$(BIN)/rllib train --config ppo_cartpole $(ARGS)

test: $(TEST_READY) lint types  ## lint, types and tests
	@$(BIN)/python -m pytest $(ARGS)

browser:  ## Chromium, in which a test opens the HTML report; by apt-get, so as root
	@for name in chromium chromium-browser google-chrome; do command -v $$name && exit; done; \
		apt-get -qq $(APT) update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq $(APT) install --yes --no-install-recommends chromium

test-portable: $(TEST_READY)  ## the runtime's tests without epoll, memfd and fork
	@RLLIB_PORTABLE=1 $(BIN)/python -m pytest tests/core $(ARGS)

test-slow: $(TEST_READY)  ## 200 random kills, and flat memory over a million calls; takes minutes
	@RLLIB_SLOW=1 $(BIN)/python -m pytest tests/core/test_random_kills.py \
		tests/core/test_flatness.py $(ARGS)

lint: $(TEST_READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(TEST_READY)
	@$(BIN)/mypy

bench: $(TEST_READY)  ## runtime rows; results go to benchmarks/results/
	@$(BIN)/python -m benchmarks.core_rows $(ARGS)

chaos: $(TEST_READY)  ## training while things are broken; hours, results go to benchmarks/results/
	@$(BIN)/python -m benchmarks.chaos $(ARGS)
	@$(BIN)/python -m benchmarks.chaos_checks
	@$(BIN)/python -m benchmarks.checkpoint_pause
	@$(BIN)/python -m benchmarks.fault_cost
	@$(BIN)/python -m benchmarks.soak --minutes 60
	@$(BIN)/python -m benchmarks.chaos_peers
	@$(BIN)/python -m benchmarks.chaos_page

bench-check: $(TEST_READY)  ## calls per env step beside those of the committed baseline
	@$(BIN)/python -m rllib.benchmarking.counts --compare benchmarks/baselines/short.json $(ARGS)

docs: $(VENV)/.ready-docs  ## the site, into build/site; make docs ARGS=serve shows it while one writes
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs $(or $(ARGS),build)

$(VENV)/.ready-docs: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

$(READY): pyproject.toml constraints.txt $(wildcard rllib/kernels/*.[ch] envs/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rllib needs Python 3.11 or newer, this is %d.%d; name another one: make PYTHON=python3.12 train" % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (the first time takes a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(TEST_READY): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
