# `make help` lists what there is. The environment in .venv is made when first needed, and again when its pins change.

# The interpreter that .venv is made with (3.11 or newer): make test PYTHON=python3.12
PYTHON ?= python3
# Comma-separated, without spaces: make reproduce-table1 DATASETS=pendigits,usps METHODS=euclidean,arml
DATASETS ?= mnist,fashion_mnist,splice,pendigits,satimage,usps
METHODS ?= euclidean,nca,lmnn,itml,lfda,arml
# The attacks of Table 2, beside the certified radii, which are always computed: make reproduce-table2 ATTACKS=local_search
ATTACKS ?= local_search,boundary
# OLD=1 shows records of older versions of the code in tables and figures, too, with a footnote: make tables OLD=1
OLD ?=
# Further keys of scripts/run.py: make reproduce-table1 SET="device=cuda data.root=/data"
SET ?=
# Further arguments of pytest: make test ARGS="-k geometry"
ARGS ?=

comma := ,
EVALUATIONS = certified_knn$(ATTACKS:%=$(comma)%)
STAMP := .venv/.stamp
BIN := .venv/bin
RUN := $(BIN)/python scripts/run.py
WARMUP := $(BIN)/python -m arml warmup
REPORT := $(BIN)/python scripts/report.py $(if $(OLD),--allow-old)

.DEFAULT_GOAL := help
.PHONY: help recheck publish demo test lint mutants reproduce-table1 reproduce-table2 reproduce-exact reproduce-figure1 tables figures claims check-claims bench lock clean
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "  make %-18s %s\n", $$1, $$2 }'

demo: $(STAMP) ## six metrics on scikit-learn's digits, with a table and a figure in results/demo/; no download
	@$(WARMUP)
	@$(call sweep,experiment=demo,--demo)

test: lint ## lint, types, import rules, then the tests; ARGS="..." goes to pytest
	@$(WARMUP)
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP) ## style, format, types and import rules
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-logo

reproduce-table1: $(STAMP) ## Table 1 of the paper; DATASETS=pendigits,usps METHODS=euclidean,arml narrow it
	@$(call sweep,experiment=table1 dataset=$(DATASETS) method=$(METHODS),--table table1)

reproduce-table2: $(STAMP) ## Table 2 of the paper, certified and attacked 11-NN; ATTACKS=local_search leaves out the slow one
	@$(call sweep,experiment=table2 dataset=$(DATASETS) method=$(METHODS) evaluation=$(EVALUATIONS),--table table2)

reproduce-exact: $(STAMP) ## exact 11-NN radii, as a column of Table 2
	@$(call sweep,experiment=table2 dataset=$(DATASETS) method=$(METHODS) evaluation=exact_knn,--table table2)

reproduce-figure1: $(STAMP) ## Figure 1 of the paper
	@$(call sweep,experiment=figure1,--table table1 --only figures)

tables: $(STAMP) ## results/tables/ from the ledger and your own finished runs
	$(REPORT) --only tables

figures: $(STAMP) ## results/figures/ from the ledger and your own finished runs
	$(REPORT) --only figures

claims: $(STAMP) ## results/claims/, the paper's numbers beside ours, from the ledger and your own finished runs
	$(REPORT) --only claims

check-claims: $(STAMP) ## fail if a verdict is worse than in the committed claims
	$(BIN)/python scripts/check_claims.py

publish: $(STAMP) ## move finished records into the ledger, results/records/, to be committed; ARGS="--only splice"
	$(BIN)/python scripts/publish.py $(ARGS)

recheck: $(STAMP) ## check every finished record of radii without the solver that found them; fails if one is refused
	$(BIN)/python scripts/recheck.py

mutants: $(STAMP) ## put small faults into the code, one at a time: which do the tests notice? ARGS="--limit 20 --only proofs"
	$(BIN)/python scripts/mutants.py $(ARGS)

bench: $(STAMP) ## speed against the published algorithms, into results/benchmarks/
	$(BIN)/python benchmarks/run.py

lock: $(STAMP) ## bring requirements.lock in line with pyproject.toml
	$(BIN)/python scripts/lock.py

clean: ## remove caches and build left-overs; .venv, data and results stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find arml benchmarks scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.lock pyproject.toml scripts/setup_env.py
	@$(PYTHON) scripts/setup_env.py

# $(call sweep,overrides,report options): run the jobs, then report. A failed job (exit code 1) stops neither the others
# nor the report, but fails the target at the end; a wrong request (2) or an interrupt (130) stops at once.
define sweep
$(RUN) -m $(1) $(SET); status=$$?; \
[ $$status -le 1 ] || exit $$status; \
$(REPORT) $(2) || status=1; \
[ $$status -eq 0 ] || echo "Not everything succeeded: see the failed runs listed above." >&2; \
exit $$status
endef
