# Tests of the packages under a real systemd, in virtual machines. Part of the Makefile.

VM_SUITES ?= bookworm trixie

.PHONY: check-vm
check-vm: deb rpm
	@$(PYTHON) tests/vm/run.py $(VM_SUITES:%=--suite %) --deb "$$(ls -t build/deb/pppctl_*.deb | head -n 1)" \
		--rpm "$$(ls -t build/rpm/pppctl-[0-9]*.rpm | grep -v '\.src\.rpm$$' | head -n 1)" --only '$(ONLY)'
