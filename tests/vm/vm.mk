# Tests of the packages under a real systemd, in virtual machines. Part of the Makefile.

VM_SUITES ?= bookworm trixie
# Base roots take minutes to make, and are good until what the package depends on changes.
VM_CACHE  ?= build/vm

.PHONY: check-vm
check-vm: deb deb-since-254 rpm-next
	@packaging/install-deps.sh vm
	@$(PYTHON) tests/vm/run.py $(VM_SUITES:%=--suite %) --cache '$(VM_CACHE)' --only '$(ONLY)' \
		--deb "$$(ls -t build/deb/pppctl_*.deb | head -n 1)" \
		--deb "trixie=$$(ls -t build/deb/since-254/pppctl_*.deb | head -n 1)" \
		--rpm "$$(ls -t build/rpm/pppctl-[0-9]*.rpm | grep -v '\.src\.rpm$$' | head -n 1)" \
		--next-rpm "$$(ls -t build/rpm/next/RPMS/*/pppctl-[0-9]*.rpm | head -n 1)"
