# The README's commands on fresh machines. Part of the Makefile.

# Roots and packages are kept here from run to run.
FRESH_CACHE  ?= build/fresh
FRESH_SUITES ?= bookworm trixie

.PHONY: check-fresh
check-fresh:
	@packaging/install-deps.sh fresh
	@$(PYTHON) tests/fresh/run.py $(FRESH_SUITES:%=--suite %) --cache '$(FRESH_CACHE)' --only='$(ONLY)'
