# Every target sets up what it needs in .venv; only python3, make and (for system packages) root's apt-get are assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := $(VENV)/.packages

# Of the tests, what needs no process, no root and no minute.
UNIT := $(BIN)/$(if $(COVERAGE),coverage run,python) -m pytest -q -m 'not process and not soak and not exhaustive and not lab'
# Nothing here is about time, so two may run at once, a file each: what is waited for is a count, a line or a page.
PROCESSES := $(BIN)/python -m pytest -q -n 2 --dist loadfile -m '(process or soak) and not exhaustive and not lab'

# Test modules are rewritten when they are imported: once, where Python may keep the outcome.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo monitoring deb dashboards monitoring-archive release site reference test unit coverage unit-daemons unit-rest exhaustive lint lab lab-newcomer lab-vm fuzz audit wheelhouse provision-trial aws-proof bench constraints clean

help:  ## this list
	@grep -E '^[a-z-]+:.*\#\#' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "python3 >= 3.11 with the venv module is needed: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --require-hashes -r constraints.txt
	@PYTHONWARNINGS="ignore:Editable installation" $(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# Without root the packages are the user's business, and tests that need a missing one are skipped (but fail in CI).
$(PACKAGES): packages.txt $(STAMP)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  wanted=$$(grep -v '^#' packages.txt); \
	  if ! dpkg -s $$wanted >/dev/null 2>&1; then \
	    apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -qq --no-install-recommends $$wanted >/dev/null; \
	  fi; \
	fi
	@touch $@

demo: $(STAMP)  ## two paths race for the same events: live table, results, summary
	$(BIN)/experiment demo

monitoring: $(PACKAGES)  ## Prometheus, Alertmanager and (where installed) Grafana on the running demo
	$(BIN)/experiment monitoring

dashboards: $(STAMP)  ## write grafana/dashboards from their Python source
	$(BIN)/python -m grafana.generate

monitoring-archive: $(STAMP)  ## dashboards and rules with a README, to be imported elsewhere, in dist
	$(BIN)/python -m grafana.archive dist

site: $(STAMP)  ## the documents as a site of static pages, in dist/site
	$(BIN)/python -m reference.site dist/site

reference: $(STAMP)  ## write docs/reference, manuals, completions and schemas from the programs
	$(BIN)/python -m reference.generate

test: $(PACKAGES) $(if $(COVERAGE),coverage,unit)  ## unit, process and soak tests: the fast ones first
	$(PROCESSES)

unit: $(STAMP)  ## the fast part of the tests, a half on each of two cores
	@$(MAKE) --no-print-directory --output-sync=target -j2 unit-daemons unit-rest

unit-daemons:
	$(UNIT) tests/daemons

unit-rest:
	$(UNIT) tests --ignore tests/daemons

coverage: $(STAMP)  ## the same, and which lines of each file they do not reach
	@$(BIN)/coverage erase
	@$(MAKE) --no-print-directory unit COVERAGE=yes
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

exhaustive: $(PACKAGES)  ## provision killed everywhere, the probe beside curl, statistics a hundred times, ten million rows
	$(BIN)/python -m pytest -m 'exhaustive and not lab'
	$(UNIT) --hypothesis-profile thorough

lint: $(STAMP)  ## ruff, mypy strict, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --scripts-are-modules systemd/install systemd/overlay/nic-exporter systemd/wheelhouse
	$(BIN)/lint-imports

# The right to set the clock is dropped: hosts share it with this machine.
lab: $(PACKAGES)  ## boot systemd hosts and break them (root; docs/lab.md)
	setpriv --bounding-set -sys_time --inh-caps -sys_time $(BIN)/python -m pytest -m 'lab and not vm and not exhaustive' $(LAB)

lab-newcomer: $(PACKAGES)  ## the README's commands on minimal Debian 12 and 13, as root and as a user (root; an hour)
	$(BIN)/python -m pytest -m 'lab and exhaustive' $(LAB)

lab-vm: $(PACKAGES)  ## the same on virtual machines with Debian's own kernel and cloud-init (root; minutes)
	setpriv --bounding-set -sys_time --inh-caps -sys_time $(BIN)/python -m pytest -m vm $(LAB)

fuzz: $(STAMP)  ## coverage-guided fuzzing of all that takes in bytes of others; SECONDS=260 for all targets
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),260) $(FUZZ)

# Its data come from the package index; without them it waits for ever. Not part of the tests, which need no network.
audit: $(STAMP)  ## ask the package index for known vulnerabilities of all that is pinned (needs internet)
	@timeout 300 $(BIN)/uv tool run --quiet pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r constraints.txt; \
	  code=$$?; case $$code in \
	    0) ;; \
	    124) echo "not audited: no answer within 300 s; is the package index (pypi.org) reachable from here?"; exit 1 ;; \
	    *) echo "exit code $$code: packages above are vulnerable, or the index could not be asked"; exit 1 ;; \
	  esac

wheelhouse:  ## all that systemd/install needs on a host without internet, in dist/wheelhouse
	systemd/wheelhouse $(foreach version,$(WHEELHOUSE_PYTHON),--python $(version)) $(foreach extra,$(EXTRAS),--extra $(extra))

deb: $(PACKAGES)  ## the Debian package for hosts, in dist; needs a package index
	debian/build-package $(foreach extra,$(EXTRAS),--extra $(extra))

# Twice, from two exports: what differs would be of this machine. A wheel keeps the modes of files: all as under umask 022,
# root or not. Twine comes from the package index, for this alone.
release: $(PACKAGES)  ## what a release publishes, in dist, with SHA256SUMS (CONTRIBUTING.md; needs a package index)
	rm -rf dist
	umask 022; for place in dist/one dist/two; do \
	  git -c tar.umask=0022 archive --prefix="$$place/source/" HEAD | tar -x --no-same-permissions && \
	  SOURCE_DATE_EPOCH=946684800 $(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $$place $$place/source || exit 1; done
	cmp dist/one/*.whl dist/two/*.whl
	mv dist/one/*.whl dist && rm -rf dist/one dist/two
	$(BIN)/uv tool run --quiet twine check --strict dist/*.whl
	$(BIN)/python -m grafana.archive dist
	debian/build-package
	cd dist && sha256sum *.whl *.tar.gz *.deb | tee SHA256SUMS

provision-trial: $(STAMP)  ## a shell with an emulated AWS account in which every `provision` command works; needs no account
	$(BIN)/python -m tests.provisioning.trial

aws-proof: $(STAMP)  ## build, measure and remove the cheapest deployment on your AWS account: costs money, says first how much
	@$(BIN)/python -m tests.proof $(if $(SPEND_USD),--spend-usd $(SPEND_USD)) $(PROOF)

bench: $(STAMP)  ## latency, throughput, memory and accuracy, with ratios against baselines of the same run
	$(BIN)/python -m benchmarks

constraints: $(STAMP)  ## re-resolve constraints.txt (versions and hashes only)
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --all-extras --group dev pyproject.toml -o constraints.txt

clean:  ## remove the virtual environment, caches and results
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage* demo-results bench-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
