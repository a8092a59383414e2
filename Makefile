# make run    sets everything up and serves a sample application
# make test   sets everything up and runs the tests
# make help   the rest

PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV := .venv/$(VERSION)
BIN := $(VENV)/bin
SERVES := $(VENV)/.serves
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check format coverage soak simulate corpus reloads bench bench-quick bench-tools bench-memory bench-respawn bench-arbiter bench-slow bench-tls bench-checkouts profile docs clean test-proxies compare-http fuzz

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

# Without these, whatever makes a virtual environment would fail with a message about something else.
define CHECK_PYTHON
@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not installed: install Python 3.11 or newer (Debian, Ubuntu: apt-get install python3 python3-venv), or name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: pyfork needs Python 3.11 or newer, and $(PYTHON) is $(VERSION): name another, as in: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) cannot create virtual environments: install the package python$(VERSION)-venv (Debian, Ubuntu: apt-get install python$(VERSION)-venv)" >&2; exit 1; }
endef

# What serving takes; its rule makes the virtual environment.
$(SERVES): pyproject.toml
	$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) --editable . --group samples
	@touch $@

# What testing and checking take beside.
$(READY): $(SERVES)
	$(PIP) --group tests --group check
	@touch $@

## make run        set up, and serve sample_apps/quotes.py on http://127.0.0.1:8000 (ARGS='-b 127.0.0.1:9100 -k async' for other settings)
run: $(SERVES)
	@echo "Serving the quotes sample: try  curl ADDRESS/quote  with the address that the log says it listens at (Ctrl-C stops it)"
	@$(BIN)/pyfork -c server.toml.example $(ARGS)

## make test       set up, and run the tests (PYTHON=python3.13 for another Python, ARGS='-k name' for pytest)
# Three at once, also on two cores: most of the tests wait for processes, for a third of their time.
test: $(READY)
	$(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

## make check      formatting, lint, types, import rules
check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

## make format     let ruff format and mend what it can
format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

PURE := pyfork/http1/*,pyfork/gateway/trailers.py,pyfork/ipc/messages.py,pyfork/ipc/orders.py,pyfork/workers/balance.py,pyfork/config/schema.py,pyfork/config/schema_hooks.py,pyfork/config/schema_proxy.py,pyfork/config/schema_static.py,pyfork/config/schema_tls.py,pyfork/config/server_names.py,pyfork/gateway/client_certificate.py,pyfork/config/mounts.py,pyfork/config/showing.py,pyfork/config/idle.py,pyfork/config/declarations.py,pyfork/config/catalogue.py,pyfork/config/binds.py,pyfork/config/proxies.py
PURE := $(PURE),$(shell echo $(foreach m,codings conditions media_types paths planning ranges,pyfork/static/$(m).py) | tr ' ' ',')
PURE := $(PURE),$(shell echo $(foreach m,announcer conflicts core crashes events actions desk failures figures handles headcount lifecycle load_events mold_events molds notices pacing placement policy reports rollout roster scaling staffing stopping succession legacy upgrade_events,pyfork/arbiter/$(m).py) | tr ' ' ',')

## make coverage   run the tests with branch coverage, children included: 90 % of everything, 100 % of what is pure
coverage: $(READY)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage report --include='$(PURE)' --fail-under=100

BENCH_VENV := benchmarks/.venv/$(VERSION)
BENCH_READY := $(BENCH_VENV)/.ready

# Before anything is installed in vain.
bench-tools:
	$(CHECK_PYTHON)
	@$(PYTHON) benchmarks/machine.py

# Each peer is installed by itself: one that will not install is named and left out of the comparison.
$(BENCH_READY): pyproject.toml benchmarks/requirements.txt benchmarks/install.py
	$(PYTHON) -m venv --clear $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	$(BENCH_VENV)/bin/python benchmarks/install.py
	@touch $@

## make soak       new faults in real servers, a quarter of an hour for each worker type; then a million steps of the core
soak: $(READY)
	PYFORK_FAULT_SECONDS=$${PYFORK_FAULT_SECONDS:-3600} $(BIN)/python -m pytest -n 2 --dist worksteal tests/faults/test_injection.py $(ARGS)
	@$(MAKE) --no-print-directory simulate

SIMULATION_STEPS ?= 1000000

## make simulate   a million new steps of the core in its fake world, some forty minutes (SIMULATION_STEPS=50000)
simulate: $(READY)
	PYFORK_SIMULATION_STEPS=$(SIMULATION_STEPS) $(BIN)/python -m pytest -n 2 --dist worksteal --hypothesis-profile=soak \
	    tests/simulation/test_simulation.py $(ARGS)

## make corpus     every case of tests/corpus/, cut at every boundary, sent to every worker type: some ten minutes
corpus: $(READY)
	PYFORK_CORPUS=all $(BIN)/python -m pytest -n 2 tests/contract/test_corpus_served.py $(ARGS)

FUZZ_SECONDS ?= 60
FUZZ_VENV := .venv/fuzz-$(VERSION)
FUZZ_READY := $(FUZZ_VENV)/.ready

# atheris comes as a wheel for Linux on x86-64 only: in an environment of its own, nothing else misses it.
$(FUZZ_READY): pyproject.toml
	$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear $(FUZZ_VENV)
	$(FUZZ_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(FUZZ_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable . --group fuzz
	@touch $@

## make fuzz       octets that break a rule of the parser's, guided by coverage; new requests to real servers: a minute each (FUZZ_SECONDS=3600)
fuzz: $(READY) $(FUZZ_READY)
	$(FUZZ_VENV)/bin/python tests/fuzz/fuzz_parser.py -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 $(ARGS)
	PYFORK_FUZZ_EXAMPLES=$$(( $(FUZZ_SECONDS) * 10 )) $(BIN)/python -m pytest tests/contract/test_fuzzed.py

## make test-proxies  the HTTP corpus through a real nginx and a real HAProxy, four minutes (needs both)
test-proxies: $(READY)
	@PATH=$$PATH:/usr/sbin; for each in nginx:nginx-light haproxy:haproxy; do command -v $${each%:*} >/dev/null || { \
	    echo "make: $${each%:*} is not installed (Debian, Ubuntu: apt-get install $${each#*:})" >&2; exit 1; }; done
	$(BIN)/python -m pytest tests/proxies/behind_proxies.py $(ARGS)

## make reloads    a hundred reloads in a row under load, of each worker type, with and without preload: a few minutes
reloads: $(READY)
	$(BIN)/python benchmarks/reloads.py $(ARGS)

## make bench      every worker type beside six other servers in nine set-ups, under 40 minutes (needs wrk; see benchmarks/README.md)
## make bench-quick  hello and Falcon, the servers that a limit compares, under two minutes
bench bench-quick: bench-tools
	@$(MAKE) --no-print-directory $(BENCH_READY)
	@$(BENCH_VENV)/bin/python benchmarks/bench.py $(if $(filter bench-quick,$@),--quick) $(ARGS)

## make bench-memory  what four warm workers of a Django application take, beside gunicorn's, about ten minutes
## make bench-respawn  how long a killed worker is missed, two minutes
## make bench-arbiter  what the arbiter takes alone, two minutes
## make bench-slow  fresh requests while slowhttptest holds 2 000 slow connections, about twelve minutes (needs slowhttptest)
## make bench-tls  what a request costs over TLS, and what a stream of handshakes does to others, five minutes
## make bench-checkouts  this checkout beside another revision, ARGS='REVISION' (the last tag), two minutes (needs wrk)
bench-memory: SCRIPT := memory.py
bench-slow: SCRIPT := slow.py
bench-tls: SCRIPT := tls.py
bench-checkouts: SCRIPT := checkouts.py
bench-respawn: SCRIPT := respawn.py
bench-arbiter: SCRIPT := arbiter_memory.py
bench-memory bench-respawn bench-arbiter bench-slow bench-tls bench-checkouts:
	$(CHECK_PYTHON)
	@$(MAKE) --no-print-directory $(BENCH_READY)
	@$(BENCH_VENV)/bin/python benchmarks/$(SCRIPT) $(ARGS)

# The peers of compare-http have an environment of their own: those of `make bench` need a compiler, these do not.
HTTP_VENV := benchmarks/.venv/http-$(VERSION)
HTTP_READY := $(HTTP_VENV)/.ready

$(HTTP_READY): pyproject.toml benchmarks/requirements-http.txt benchmarks/install.py
	$(PYTHON) -m venv --clear $(HTTP_VENV)
	$(HTTP_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	$(HTTP_VENV)/bin/python benchmarks/install.py requirements-http.txt
	@touch $@

## make compare-http  the HTTP corpus sent to pyfork and six other servers: who fails what, four minutes
compare-http:
	$(CHECK_PYTHON)
	@$(MAKE) --no-print-directory $(HTTP_READY)
	@$(HTTP_VENV)/bin/python benchmarks/compare_http.py $(ARGS)

## make profile    where the microseconds of a request go (needs wrk; ARGS='threadpool' for another worker type)
profile: bench-tools
	@$(MAKE) --no-print-directory $(BENCH_READY)
	@$(BENCH_VENV)/bin/python benchmarks/hotpath.py $(ARGS)

## make docs       write the pages anew that follow from the code: settings, signals, diagrams, server.toml.example
docs: $(READY)
	$(BIN)/python -m pyfork.config.render settings > docs/settings.md
	$(BIN)/python -m pyfork.config.render example > server.toml.example
	for script in docs/make_*.py; do PYTHONPATH=. $(BIN)/python "$$script" || exit 1; done

## make clean      remove what make made
clean:
	rm -rf .venv benchmarks/.venv .coverage .coverage.* build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
