# Every target sets itself up: `make quickstart` and `make test` are all that a fresh machine needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := bench_out/peers

.PHONY: quickstart test test-long lint bench clean

quickstart: $(VENV)/installed
	$(BIN)/python -m bert_tf quickstart $(ARGS)

test: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-long: $(VENV)/installed-test
	$(BIN)/python -m pytest -m "long or not long" $(ARGS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

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
	test -d $(PEERS) || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install -q -r benchmarks/peers-requirements.txt
	touch $@

# constraints.txt holds the exact versions that the tests last passed with.
$(VENV)/installed: setup.py constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/installed-test: setup.py constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[test,serving]"
	touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) $(PEERS) build dist *.egg-info
