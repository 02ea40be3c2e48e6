# The README's commands. Each makes the environment that it needs, in .venv of this checkout.
PYTHON ?= python3
CORES ?= all
CONFIG ?= config/config.yaml

BIN := .venv/bin
READY := .venv/.ready
# Hundreds of processes start: where the surroundings forbid bytecode, each would compile the sources of dcsc anew.
export PYTHONDONTWRITEBYTECODE :=
# A line a stage; VERBOSE=1 gives Snakemake's own output.
RUN = $(BIN)/python -m dcsc run --configfile $(CONFIG) --cores $(CORES) $(if $(VERBOSE),--verbose)
RESULTS = $(shell sed -n 's/^results: *//p' $(CONFIG))
PAGE = $(if $(filter config/config.yaml,$(CONFIG)),reproduction,$(basename $(notdir $(CONFIG))))

.PHONY: help reproduce run reproduce-all smoke report docs estimate profile verify orphans networks test test-all test-slurm benchmark tutorial package site lint format schema lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dcsc needs Python 3.11 or newer, $(PYTHON) is older: run make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Making the environment in .venv (about a minute) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

reproduce: $(READY)  ## the full reproduction: every dataset, figure and table
	@$(RUN)
	@echo "Up to date: figures and the numbers they show are in $(RESULTS)/figures; 'make report' gathers them in one page."

run: $(READY)  ## a part: TARGET=a stage, an experiment, a figure; FORCE=a rule to run again
	@$(RUN) $(TARGET) $(if $(FORCE),-- --forcerun $(FORCE))

reproduce-all: $(READY)  ## the reproduction, then iterative pursuits and real signals
	@$(MAKE) --no-print-directory reproduce
	@$(MAKE) --no-print-directory reproduce CONFIG=config/iterative.yaml

smoke: $(READY)  ## every stage on tiny sizes, in under a minute
	@$(MAKE) --no-print-directory reproduce CONFIG=config/smoke.yaml

report: $(READY)  ## one page with all figures and captions, after reproduce
	$(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG) --report $(RESULTS)/report.html
	@echo "Open $(RESULTS)/report.html in a browser."

docs: $(READY)  ## docs/reproduction.md and its pictures, after reproduce; with CONFIG=config/iterative.yaml docs/iterative.md
	mkdir -p docs/images/$(PAGE)
	rm -f docs/images/$(PAGE)/*.png
	cp $(RESULTS)/figures/*.png docs/images/$(PAGE)/
	sed -E 's#\]\(figures/([^)]*\.png)\)#](images/$(PAGE)/\1)#; s#\[([^]]*)\]\(figures/[^)]*\.csv\)#\1#g' \
		$(RESULTS)/reproduction.md > docs/$(PAGE).md
	test $(PAGE) != reproduction || $(BIN)/python docs/update_readme.py

estimate: $(READY)  ## jobs, core-hours, memory and disk of what is to be done, before it runs
	@$(BIN)/python -m dcsc estimate --configfile $(CONFIG)

profile: $(READY)  ## where the time of the last run went, by rule, experiment and job
	@$(BIN)/python -m dcsc profile --configfile $(CONFIG)

verify: $(READY)  ## every file of the results against the configuration, the code and the inputs of today
	@$(BIN)/python -m dcsc verify --configfile $(CONFIG) $(if $(FORGET),--forget)

orphans: $(READY)  ## files under the results that no rule makes, or that cannot be traced
	$(BIN)/python -m dcsc orphans --configfile $(CONFIG)

networks: $(READY)  ## codes planted in the layers of real networks, which docs/networks.md says how to get
	$(BIN)/python -m dcsc networks config/networks.yaml

test: $(READY)  ## the tests, but for the slow ones
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow"

test-all: $(READY)  ## all tests
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

test-slurm: $(READY)  ## the tests on a Slurm of their own, in a container with its packages
	@tests/slurm/cluster.sh check
	DCSC_TEST_SLURM=1 $(BIN)/python -m pytest -q tests/slurm -m "not slow"

benchmark: $(READY)  ## times beside the peers, in an environment of its own: docs/benchmarks.md
	@test -x .venv-benchmark/bin/python || $(PYTHON) -m venv .venv-benchmark
	@.venv-benchmark/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@.venv-benchmark/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	PYTHONPATH=. .venv-benchmark/bin/python -m benchmarks

tutorial: $(READY)  ## execute docs/tutorial.ipynb and store what it shows (after make smoke)
	$(BIN)/python docs/execute_tutorial.py

package: $(READY)  ## wheel and sdist in dist/, tried in clean environments of the Pythons that are found
	$(BIN)/python tests/package/build_and_try.py

.venv-site/.ready: docs/site/requirements.lock docs/site/weights.lock
	@echo "Making the environment of the site in .venv-site (about a minute) ..."
	@$(PYTHON) -m venv .venv-site
	@.venv-site/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r docs/site/requirements.lock
	@.venv-site/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r docs/site/weights.lock
	@touch $@

site: .venv-site/.ready  ## the documentation as a site, in an environment of its own: docs/site/_build/html/index.html
	.venv-site/bin/python docs/site/build.py

lint: $(READY)  ## style and types of the code, style of the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --lint --snakefile workflow/Snakefile

format: $(READY)  ## write the code in the style that lint demands
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

schema: $(READY)  ## write the files that derive from dcsc/study/options
	$(BIN)/python -m dcsc schema > workflow/schemas/config.schema.yaml
	$(BIN)/python -m dcsc keys --into config/README.md

lock: $(READY)  ## resolve requirements.lock anew (needs uv on the PATH)
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra develop --extra slurm pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra docs -c requirements.lock pyproject.toml -o docs/site/requirements.lock

clean:  ## remove what the workflow made, not the environment
	rm -rf results results-smoke results-iterative logs .snakemake
