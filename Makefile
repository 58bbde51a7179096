# `make` lists the commands. Each installs what it needs first, by scripts/setup.

CARGO ?= cargo
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
FUZZ_SECONDS ?= 30
FUZZ_TARGETS = $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

# Where the system's Node is too old, scripts/setup puts one there.
export PATH := $(CURDIR)/.cache/node/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test check fmt bench fuzz quality doc

help: ## these lines
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: ## a call between two processes, measured, with its report in demo-out/
	scripts/setup demo
	$(CARGO) build --release --locked -p sotto-cli
	$(TARGET_DIR)/release/sotto demo --audio .cache/speech.wav --video .cache/video.ivf --out demo-out

test: ## every test, from single rules to whole calls
	scripts/setup test
	$(CARGO) nextest run --workspace --locked $(if $(CI),--profile ci)
	$(CARGO) test --doc --workspace --locked

check: ## format, lints, documentation, licences
	scripts/check

fmt: ## formats the code
	$(CARGO) fmt --all

bench: ## the benchmarks
	scripts/setup build
	$(CARGO) bench --workspace --locked --benches --features sotto/harness

fuzz: ## each fuzz target for FUZZ_SECONDS (30)
	scripts/setup fuzz
	@set -e; for target in $(FUZZ_TARGETS); do \
	  mkdir -p .cache/fuzz/$$target; \
	  echo "fuzz: $$target for $(FUZZ_SECONDS) s"; \
	  $(CARGO) +nightly fuzz run $$target .cache/fuzz/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10; \
	done

quality: ## speech quality and delay over loss and jitter, as a table
	scripts/setup quality
	$(CARGO) build --release --locked -p sotto-cli
	scripts/quality --sotto $(TARGET_DIR)/release/sotto

doc: ## the documentation, in target/doc
	$(CARGO) doc --workspace --locked --no-deps
