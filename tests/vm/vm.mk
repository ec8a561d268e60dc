# Tests of the packages under a real systemd, in virtual machines. Part of the Makefile.

VM_SUITES ?= bookworm trixie
# Emulation of one uses less than one processor, most of the time: its tests wait, too.
VM_JOBS   ?= 3
# Roots take minutes to make, and are good until what the package depends on changes.
VM_CACHE  ?= build/vm
# The package that is built here is for this suite; for others it is built in a root of theirs.
VM_HERE   := $(filter $(VM_SUITES),$(shell . /etc/os-release && echo "$$VERSION_CODENAME"))

.PHONY: check-vm
check-vm: deb deb-source rpm-next
	@packaging/install-deps.sh vm
	@$(PYTHON) tests/vm/run.py $(VM_SUITES:%=--suite %) --jobs $(VM_JOBS) --cache '$(VM_CACHE)' --only='$(ONLY)' \
		$(VM_HERE:%=--deb "%=$$(ls -t build/deb/pppctl_*.deb | head -n 1)") --source $(DEB_TREE) \
		$(VM_HERE:%=--rpm "%=$$(ls -t build/rpm/RPMS/*/pppctl-[0-9]*.rpm | head -n 1)") \
		--next-rpm "$$(ls -t build/rpm/next/RPMS/*/pppctl-[0-9]*.rpm | head -n 1)"
