# Each target sets up .venv by itself; nothing but Python 3.11 and make is needed.
PYTHON ?= $(shell command -v python3.11 || echo python3)
JOBS ?= 2
BIN = .venv/bin
DEVICES = tests/meta/devices tests/meta/test_iphones.py

# Compiled modules are kept, whatever the shell says: every process of a run would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup validate validate-android test test-deeply test-devices lint bench device-runner lock clean

setup:  ## make .venv from the lock file, when it is not there or the lock file has changed
	@$(PYTHON) tools/bootstrap.py

validate-android: setup  ## the Android part, on a stand-in phone: nothing needs to be attached
	$(BIN)/pytest -m android --stand-in native --require-device -v

validate: setup  ## convert, check, measure, report and gate the default profile
	$(BIN)/pytest -n $(JOBS) -v

test: setup  ## the suite's own tests, a real model from end to end among them
	$(BIN)/pytest tests/meta -n $(JOBS)

test-deeply: setup  ## the operators of Core ML on a hundred drawn examples each, others at every run
	POCKETPROOF_EXAMPLES=100 $(BIN)/pytest tests/meta/coreml/ops tests/meta/coreml/layers -n $(JOBS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup  ## the suite's own speed, as ratios; minutes long, on an idle machine
	$(BIN)/python -m tests.bench

test-devices: setup  ## of these, the ones on stand-in phones, of the on-device runner, and of Xcode's tools
	$(BIN)/pytest $(DEVICES) -n $(JOBS)

device-runner: setup  ## build the runner that measures on phones, for x86_64 and arm64-v8a
	$(BIN)/python -m suite.devices.bundle

lock:  ## resolve the lock file anew; needs uv
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra validate --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache *.egg-info
