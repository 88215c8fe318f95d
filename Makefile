# Every target sets itself up: `make quickstart` and `make test` are all that a fresh machine needs.
# `make install` alone installs into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := bench_out/peers

# Makes a virtual environment anew where there is none that works: pip was not reached when it was
# made, the Python that it was made of is gone, or it is of a Python that is not supported.
SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))
define environment
	@$(1)/bin/python -c "$(SUPPORTED)" 2>/dev/null && $(1)/bin/python -m pip --version >/dev/null 2>&1 \
	  || { $(PYTHON) -c "$(SUPPORTED)" || { echo "error: expected Python 3.10 to 3.13, found" \
	  "$$($(PYTHON) --version 2>&1); name another: make PYTHON=python3.11" >&2; exit 1; }; \
	  rm -rf $(1); $(PYTHON) -m venv $(1); }
endef
# What was installed into an environment that no longer works is installed again.
ifneq ($(shell $(BIN)/python -c "$(SUPPORTED)" 2>/dev/null && echo works),works)
$(shell rm -f $(VENV)/installed $(VENV)/installed-test $(VENV)/installed-docs)
endif
# tf-models-official, which some tests compare with, has no release for Python 3.13.
# Asked when the environment is there: make expands a recipe before it runs the first line of it.
EXTRAS_OF_TESTS := test,serving,litert,search,chinese
MODEL_GARDEN := import sys; print(',model-garden' * (sys.version_info < (3, 13)), end='')
SAY_HOW_TO_ACTIVATE = echo; echo "Installed. For the commands of the README in this shell:"; \
  echo "  source $(BIN)/activate"; echo

.PHONY: install quickstart test test-long lint docs bench clean

install: $(VENV)/installed

quickstart: $(VENV)/installed
	$(BIN)/python -m bert_tf quickstart $(ARGS)

test: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-long: $(VENV)/installed-test
	$(BIN)/python -m pytest -m "long or not long" $(ARGS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Peers have a virtual environment of their own. Real texts lie in GLUE: MRPC, SST-2, STS-B, CoLA. On
# two cores all of it takes an hour and a half; docs/performance.md has the commands of its parts.
GLUE ?= $(BERT_TF_DATA)/glue
VOCAB ?= $(BERT_TF_DATA)/minilm/vocab.txt
TEXTS = --texts $(GLUE)/SST-2/dev.tsv --vocab_file $(VOCAB)
WITH_PEERS = --peers $(PEERS)/bin/python --json bench_out
bench: $(VENV)/installed-test $(PEERS)/installed
	$(BIN)/python benchmarks/step.py $(WITH_PEERS)/step.json
	$(BIN)/python benchmarks/inference.py shape $(WITH_PEERS)/shape.json
	$(BIN)/python benchmarks/inference.py lengths $(TEXTS) $(WITH_PEERS)/lengths.json
	$(BIN)/python benchmarks/finetuning.py speed --glue $(GLUE) --vocab_file $(VOCAB) \
	  $(WITH_PEERS)/finetuning.json
	$(BIN)/python benchmarks/tokenization.py --output bench_out/tokenization.json
	$(BIN)/python benchmarks/data_creation.py --json bench_out/data_creation.json
	$(BIN)/python benchmarks/growth.py --json bench_out/growth.json --picture bench_out/growth.png
	$(BIN)/python benchmarks/scaling.py --json bench_out/scaling.json
	$(BIN)/python benchmarks/report.py bench_out

$(PEERS)/installed: benchmarks/peers-requirements.txt
	$(call environment,$(PEERS))
	$(PEERS)/bin/pip install -q -r benchmarks/peers-requirements.txt
	touch $@

# constraints.txt holds the exact versions that the tests last passed with, for Python 3.11.
$(VENV)/installed: setup.py constraints.txt
	$(call environment,$(VENV))
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@
	@$(SAY_HOW_TO_ACTIVATE)

$(VENV)/installed-test: setup.py constraints.txt
	$(call environment,$(VENV))
	$(BIN)/pip install -q -c constraints.txt \
	  -e ".[$(EXTRAS_OF_TESTS)$$($(BIN)/python -c "$(MODEL_GARDEN)")]"
	touch $(VENV)/installed $@
	@$(SAY_HOW_TO_ACTIVATE)

# Builds the documentation site into site/; a warning is an error.
$(VENV)/installed-docs: setup.py constraints.txt $(VENV)/installed
	$(BIN)/pip install -q -c constraints.txt -e ".[docs]"
	touch $@

docs: $(VENV)/installed-docs
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(PEERS) build dist site *.egg-info
