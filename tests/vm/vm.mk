# Tests of the packages under a real systemd, in virtual machines. Part of the Makefile.

VM_SUITES ?= bookworm trixie
# Emulation of one uses less than one processor, most of the time: its tests wait, too.
VM_JOBS   ?= 3
# Roots take minutes to make, and are good until what the package depends on changes.
VM_CACHE  ?= build/vm
# The package that is built here is for this suite; for others it is built in a root of theirs.
VM_HERE   := $(filter $(VM_SUITES),$(shell . /etc/os-release && echo "$$VERSION_CODENAME"))
VM_OTHERS := $(filter-out $(VM_HERE),$(VM_SUITES))
VM_BUILT  := build/deb-others
VM_RUN     = $(PYTHON) tests/vm/run.py $(VM_SUITES:%=--suite %) --cache '$(VM_CACHE)' \
	$(VM_HERE:%=--deb "%=$$(ls -t build/deb/pppctl_*.deb | head -n 1)")

# What machines are made of, which takes minutes: roots, and packages of the other suites.
.PHONY: vm-prepare check-vm
vm-prepare: deb deb-source
	@packaging/install-deps.sh vm
	@rm -rf $(VM_BUILT)
	@$(VM_RUN) --prepare $(VM_BUILT) --source $(DEB_TREE)
check-vm: deb rpm-next vm-prepare
	@$(VM_RUN) --jobs $(VM_JOBS) --only='$(ONLY)' \
		$(foreach suite,$(VM_OTHERS),--deb "$(suite)=$$(ls $(VM_BUILT)/$(suite)-pppctl_*.deb)") \
		$(VM_HERE:%=--rpm "%=$$(ls -t build/rpm/RPMS/*/pppctl-[0-9]*.rpm | head -n 1)") \
		--next-rpm "$$(ls -t build/rpm/next/RPMS/*/pppctl-[0-9]*.rpm | head -n 1)"
