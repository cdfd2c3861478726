# make serve   set up, then answer on $(BIND) from $(DB)
# make test    set up, then check and test everything
# make test-all   the same with every Python there is, and with the lowest versions allowed
# make test-bulk   set up, then test what runs on Spark, DuckDB, ClickHouse, Dask and polars
# make soak    set up, then run the tests that take minutes
# make deb     build a Debian package in build/deb
# make test-packages   build packages and images, install and run them
# make bench   set up, then measure ipquery and its peers side by side
# make bench-connections   the same with 5,000 connections for 30 s
# make bench-reloads       what reloads cost those who ask meanwhile
# make bench-losses        what callers lose by reloads and replacements: nothing
# make bench-cache         what a Redis cache costs and gains
# make bench-batch         batches beside look-ups one by one
# make bench-nodes         two nodes against one, and what nginx costs
# make bench-scale         what docs/scale.md is computed from
# make scale               the tables of docs/scale.md, computed
# make bench-tools         the load tools there are, side by side
# make accuracy   get the databases to compare with, and write docs/accuracy.md
# make screenshots   make the pictures of the page in docs/ anew
#
# BIND and DB may hold several, separated by blanks. BENCH holds options of the
# benchmark, as in make bench BENCH='--rounds 9 --only ipquery'.

PYTHON ?= python3
BIND ?= 127.0.0.1:8080
DB ?= default

VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check --quiet
REQUIREMENTS := setup.py pyproject.toml

# What the default database has beside ip2region, where `ipquery fetch default` puts it;
# nginx's GeoIP2 module reads it, too. Without it, as without a network, the default is
# ip2region alone, and says so.
MMDB := "$${XDG_DATA_HOME:-$$HOME/.local/share}/ipquery/dbip-city-2023/dbip-city-lite-latest.mmdb"
FETCH := [ -e $(MMDB) ] || $(VENV)/bin/ipquery fetch default >/dev/null

.PHONY: serve test test-all test-bulk test-programs test-serve test-rooms test-nodes lint soak bench bench-connections bench-reloads bench-losses bench-cache bench-batch bench-nodes bench-scale bench-tools scale accuracy screenshots deb test-packages clean

serve: $(VENV)/ready-to-serve $(if $(filter default,$(DB)),$(VENV)/tried-to-fetch)
	@exec $(VENV)/bin/twistd -n --pidfile= ipquery \
		$(foreach bind,$(BIND),-b '$(bind)') $(foreach db,$(DB),--db '$(db)')

# Three at a time: what runs real programs waits for them more than it works. Nodes come by
# themselves: how long callers wait when one fails is measured, and whoever else works is in it.
test: $(VENV)/ready-to-test
	@$(MAKE) --no-print-directory -j3 --output-sync=target \
		test-programs test-rooms test-serve lint
	@$(MAKE) --no-print-directory test-nodes

PROGRAMS := tests/integration
# Behind what is done first, so that none of the three is long alone: it would take a third longer.
LATER := $(wildcard $(PROGRAMS)/test_[l-z]*.py)
SERVE := tests/serve tests/contract tests/net tests/loadgen
NODES := tests/nodes

test-programs: $(VENV)/ready-to-test
	$(VENV)/bin/pytest -q $(PROGRAMS) $(LATER:%=--ignore=%)

test-serve: $(VENV)/ready-to-test
	$(VENV)/bin/pytest -q $(SERVE)
	$(VENV)/bin/pytest -q $(LATER)

test-rooms: $(VENV)/ready-to-test
	$(VENV)/bin/pytest -q $(patsubst %,--ignore=%,$(PROGRAMS) $(SERVE) $(NODES))

test-nodes: $(VENV)/ready-to-test
	$(VENV)/bin/pytest -q $(NODES)

lint: $(VENV)/ready-to-test
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

# tox leaves out in silence what it has no interpreter for: that is said before. (They are
# started: pyenv has commands for versions that it doesn't run here.) TOX holds its
# options, as in make test-all TOX='-e lowest -- tests/config'.
PYTHONS = $(shell sed -n 's/^ *"Programming Language :: Python :: \(3\.[0-9]*\)",/\1/p' setup.py)

test-all: $(VENV)/ready-for-all
	@missing=; for version in $(PYTHONS); do \
		"python$$version" -c "" 2>/dev/null || missing="$$missing $$version"; \
	done; \
	[ -z "$$missing" ] || echo "No interpreter here, so not tested with Python:$$missing" >&2
	$(VENV)/bin/tox run $(TOX)

test-bulk: $(VENV)/ready-to-test-bulk
	$(VENV)/bin/pytest -q -m 'bulk and not soak' tests/bulk

soak: $(VENV)/ready-to-test $(VENV)/ready-to-test-bulk
	$(VENV)/bin/pytest -q -s -m soak
	$(VENV)/bin/pytest -q -m 'hypothesis and not soak and not packages and not bulk' \
		--hypothesis-profile=soak

deb:
	@conf/debian/build

test-packages: $(VENV)/ready-to-test
	@tests/packages/provision
	@conf/debian/build
	$(VENV)/bin/pytest -q -s -m packages tests/packages

bench: $(VENV)/ready-to-bench
	@$(FETCH)
	$(VENV)/bin/python -m loadgen.bench --mmdb $(MMDB) $(BENCH)

bench-connections:
	@$(MAKE) bench BENCH="--connections 5000 --seconds 30 --rounds 3 --only ipquery --only 'nginx*'"

bench-reloads: $(VENV)/ready-to-bench $(VENV)/ready-to-test
	$(VENV)/bin/python -m loadgen.bench.reloads \
		"$$(find $(VENV)/lib -name 17monipdb.dat)"

bench-losses: $(VENV)/ready-to-bench $(VENV)/ready-to-test
	$(VENV)/bin/python -m loadgen.bench.losses $(BENCH) \
		"$$(find $(VENV)/lib -name 17monipdb.dat)"

bench-cache: $(VENV)/ready-to-bench
	@$(FETCH)
	$(VENV)/bin/python -m loadgen.bench.cache

bench-batch: $(VENV)/ready-to-bench
	@$(FETCH)
	$(VENV)/bin/python -m loadgen.bench.batch --mmdb $(MMDB) $(BENCH)

bench-nodes: $(VENV)/ready-to-bench
	@$(FETCH)
	$(VENV)/bin/python -m loadgen.bench.nodes $(BENCH)

bench-scale: $(VENV)/ready-to-bench
	@$(FETCH)
	$(VENV)/bin/python -m loadgen.bench.scale $(BENCH)

scale: $(VENV)/ready-to-serve
	$(VENV)/bin/python -m loadgen.measure.scale

bench-tools: $(VENV)/ready-to-bench-tools
	@$(FETCH)
	$(VENV)/bin/python -m loadgen.tools $(BENCH)

# Some come by npm, which the tests need, too.
accuracy: $(VENV)/ready-to-test
	$(VENV)/bin/python -m loadgen.measure.accuracy

screenshots: $(VENV)/ready-to-test
	$(VENV)/bin/python -m tests.screenshots

clean:
	rm -rf $(VENV) build dist *.egg-info twisted/plugins/dropin.cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'ipquery needs Python 3.11 or later; name one with PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); echo "Can't make $(VENV); on Debian: apt-get install python3-venv" >&2; \
		exit 1; }

$(VENV)/ready-to-serve: $(VENV)/bin/python $(REQUIREMENTS)
	@echo 'Installing ipquery and its default database into $(VENV)'
	@$(PIP) install --editable '.[default-data,load,update]'
	@touch $@

# Once: without a network, every start would wait for it. The daemon says how to get it then.
$(VENV)/tried-to-fetch: $(VENV)/ready-to-serve
	@$(FETCH) || true
	@touch $@

$(VENV)/ready-to-test: $(VENV)/bin/python $(REQUIREMENTS) tests/provision
	@tests/provision
	@echo 'Installing ipquery, its default database and the test tools into $(VENV)'
	@$(PIP) install --editable '.[default-data,test]'
	@touch $@ $(VENV)/ready-to-serve

$(VENV)/ready-to-test-bulk: $(VENV)/bin/python $(REQUIREMENTS) tests/bulk/provision
	@tests/bulk/provision
	@echo 'Installing ipquery and the engines that its tests run on into $(VENV)'
	@$(PIP) install --editable '.[default-data,engines,test]'
	@touch $@ $(VENV)/ready-to-serve

$(VENV)/ready-for-all: $(VENV)/bin/python tox.ini
	@echo 'Installing tox into $(VENV)'
	@$(PIP) install 'tox>=4.11' 'tox-uv>=1.13'
	@touch $@

$(VENV)/ready-to-bench: $(VENV)/bin/python $(REQUIREMENTS) loadgen/provision
	@loadgen/provision
	@echo 'Installing ipquery and what it is measured against into $(VENV)'
	@$(PIP) install --editable '.[default-data,bench]'
	@touch $@ $(VENV)/ready-to-serve

$(VENV)/ready-to-bench-tools: $(VENV)/bin/python $(REQUIREMENTS) loadgen/tools/provision
	@loadgen/tools/provision
	@echo 'Installing ipquery and other load tools into $(VENV)'
	@$(PIP) install --editable '.[default-data,tools]'
	@touch $@ $(VENV)/ready-to-serve
