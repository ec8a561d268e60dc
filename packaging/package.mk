# Units, configuration, packages and what holds them to their promises. Part of the Makefile.

# `make install` does without a service manager; this is the rest. Paths are those of $(PREFIX), for
# which systemd looks in /usr/local too; distributions give unitdir= as their pkg-config says it.
sysconfdir  ?= /etc
unitdir     ?= $(PREFIX)/lib/systemd/system
userunitdir ?= $(PREFIX)/lib/systemd/user
sysusersdir ?= $(PREFIX)/lib/sysusers.d
tmpfilesdir ?= $(PREFIX)/lib/tmpfiles.d
catalogdir  ?= $(PREFIX)/lib/systemd/catalog

# Of the systemd that the units are for: from 254 on it starts services in a subgroup of their own.
SYSTEMD_VERSION ?= $(or $(firstword $(subst ., ,$(shell pkg-config --modversion libsystemd 2>/dev/null))),252)
UNIT_DROPINS    := $(if $(shell test $(SYSTEMD_VERSION) -ge 254 && echo yes),$(wildcard units/since-254/*.conf))

all: $(BUILD)/pppd-after-stop
$(BUILD)/pppd-after-stop: $(BUILD)/obj/daemon/after-stop/main.c.o $(BUILD)/lib.a
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^

# $(1): files, $(2): directory. Units name programs where they are installed.
install_units = $(if $(1),$(INSTALL) -d '$(DESTDIR)$(2)'$(foreach unit,$(1), && \
	sed 's|/usr/libexec/pppctl/|$(libexecdir)/|' $(unit) >'$(DESTDIR)$(2)/$(notdir $(unit))' && \
	chmod 644 '$(DESTDIR)$(2)/$(notdir $(unit))'))

.PHONY: install-units uninstall-units
install-units: $(BUILD)/pppd-after-stop
	$(call install_to,755,$<,$(libexecdir))
	$(call install_units,$(wildcard units/*.service units/*.socket units/*.slice),$(unitdir))
	$(call install_units,$(wildcard units/user/*),$(userunitdir))
	$(call install_units,$(UNIT_DROPINS),$(unitdir)/pppd.service.d)
	$(call install_units,$(UNIT_DROPINS),$(userunitdir)/pppd.service.d)
	$(INSTALL) -D -m 644 units/pppctl.sysusers '$(DESTDIR)$(sysusersdir)/pppctl.conf'
	$(INSTALL) -D -m 644 units/pppctl.tmpfiles '$(DESTDIR)$(tmpfilesdir)/pppctl.conf'
	$(INSTALL) -D -m 644 units/pppctl.catalog '$(DESTDIR)$(catalogdir)/pppctl.catalog'
	$(INSTALL) -D -m 644 packaging/pppctl.conf '$(DESTDIR)$(sysconfdir)/pppctl/pppctl.conf'

# The configuration may hold what somebody wrote: it stays.
uninstall-units:
	rm -f '$(DESTDIR)$(libexecdir)/pppd-after-stop' \
		$(foreach unit,$(notdir $(wildcard units/*.service units/*.socket units/*.slice)), \
		'$(DESTDIR)$(unitdir)/$(unit)' '$(DESTDIR)$(userunitdir)/$(unit)') \
		'$(DESTDIR)$(sysusersdir)/pppctl.conf' '$(DESTDIR)$(tmpfilesdir)/pppctl.conf' \
		'$(DESTDIR)$(catalogdir)/pppctl.catalog'
	rm -rf '$(DESTDIR)$(unitdir)/pppd.service.d' '$(DESTDIR)$(userunitdir)/pppd.service.d'

# What packages are built from: all files that git does not ignore, committed or not; elsewhere, all
# that is not built. $(1): to where.
copy_source = rm -rf $(1) && mkdir -p $(1) && \
	if git rev-parse --git-dir >/dev/null 2>&1; then git ls-files -z -co --exclude-standard; \
	else find . -path ./build -prune -o '(' -type f -o -type l ')' -printf '%P\0'; fi | \
	LC_ALL=C sort -zu | while IFS= read -r -d '' file; do \
		[ ! -e "$$file" ] || printf '%s\0' "$$file"; done | \
	tar --no-recursion --null -cf - -T - | tar -C $(1) -xf -

# Building packages runs no tests unless DEB_BUILD_OPTIONS is given without nocheck: `make check` does.
DEB_BUILD_OPTIONS ?= nocheck
DEB_SOURCE        := pppctl-$(VERSION)

# $(1): directory to build in
build_deb = $(call copy_source,$(1)/$(DEB_SOURCE)) && \
	cp -R packaging/debian $(1)/$(DEB_SOURCE)/debian && cd $(1)/$(DEB_SOURCE) && \
	env -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES DEB_BUILD_OPTIONS='$(DEB_BUILD_OPTIONS)' \
		dpkg-buildpackage -us -uc -b $(jobs)

.PHONY: deb check-deb rpm check-rpm check-hardening
deb deb-source check-deb rpm check-rpm: SHELL := /bin/bash
deb deb-source check-deb rpm check-rpm: .SHELLFLAGS := -o pipefail -c
deb:
	@CC='$(CC)' packaging/install-deps.sh build deb
	@rm -rf build/deb && $(call build_deb,build/deb/first)
	@cp build/deb/first/*.deb build/deb/ && ls build/deb/*.deb

# What dpkg-buildpackage builds from, elsewhere too.
DEB_TREE := build/deb-source/$(DEB_SOURCE)
.PHONY: deb-source
deb-source:
	@rm -rf $(dir $(DEB_TREE)) && $(call copy_source,$(DEB_TREE)) && cp -R packaging/debian $(DEB_TREE)/debian

# The second build has another path, umask, time zone and language. lintian sees the source package too.
# Its infos stay unsaid: that there is no init script, and that pppd.service(8) is no program's page.
check-deb: deb deb-source
	@rm -rf build/deb/second-build && umask 0002 && export TZ=Pacific/Chatham && \
		LC_ALL=C.UTF-8 && export LC_ALL && \
		{ $(call build_deb,build/deb/second-build); } >build/deb/second.log 2>&1 || \
		{ tail -n 30 build/deb/second.log; exit 1; }
	@ls build/deb/first/pppctl-dbgsym_*.deb >/dev/null
	@cd build/deb && for deb in first/*.deb; do \
		cmp $$deb second-build/$$(basename $$deb) || exit 1; done && \
		sha256sum first/*.deb && echo "check-deb: two builds, the same bytes"
	@cd $(dir $(DEB_TREE)) && dpkg-source -b $(DEB_SOURCE) >/dev/null && \
		lintian --pedantic --fail-on=error,warning,pedantic --allow-root \
			../deb/first/*.changes ./*.dsc && echo "check-deb: lintian has nothing to say"

# What Fedora's macros say, for where rpm comes without them; packages are not known to rpm there.
RPM_DEFINES = $(if $(filter %/systemd,$(shell rpm -E %_unitdir)),,--nodeps --load packaging/rpm/macros.debian)

# $(1): directory, $(2): more options
build_rpm = env -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES rpmbuild $(RPM_DEFINES) \
	--define "_topdir $$PWD/$(1)" --define "_sourcedir $$PWD/build/rpm/SOURCES" \
	--define 'source_date_epoch_from_changelog 1' --define 'use_source_date_epoch_as_buildtime 1' \
	--define '_buildhost localhost' --define 'clamp_mtime_to_source_date_epoch 1' --nocheck \
	$(2) packaging/rpm/pppctl.spec

rpm:
	@CC='$(CC)' packaging/install-deps.sh build rpm
	@rm -rf build/rpm && mkdir -p build/rpm/SOURCES && \
		$(call copy_source,build/rpm/pppctl-$(VERSION)) && \
		tar -C build/rpm --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cJf \
			build/rpm/SOURCES/pppctl-$(VERSION).tar.xz pppctl-$(VERSION)
	@$(call build_rpm,build/rpm,-ba --noclean)
	@cp build/rpm/RPMS/*/*.rpm build/rpm/SRPMS/*.rpm build/rpm/ && ls build/rpm/*.rpm

# The same of a higher release, to see it upgraded: of the files that were built for the first. What
# rpm notes in such a package, that it was not built as a whole, no system satisfies: it takes --nodeps.
.PHONY: rpm-next
rpm-next: rpm
	@root=$$(ls -d build/rpm/BUILDROOT/* 2>/dev/null); \
		$(call build_rpm,build/rpm/next,-bb --short-circuit --noclean --define 'dist .next' \
			--define "_builddir $$PWD/build/rpm/BUILD" $${root:+--buildroot "$$PWD/$$root"})

check-rpm: rpm
	@rpmlint --strict --config packaging/rpm/rpmlint.toml packaging/rpm/pppctl.spec build/rpm/*.rpm

# Of 100; see the heads of the units.
HARDENING_LIMIT     ?= 16
HARDENING_LIMIT_WEB ?= 2
check-hardening:
	@packaging/install-deps.sh deb
	@systemd-analyze security --offline=true --no-pager --threshold=$(HARDENING_LIMIT) \
		units/pppd.service | tail -n 1
	@systemd-analyze security --offline=true --no-pager --threshold=$(HARDENING_LIMIT) \
		units/pppd-leftover.service | tail -n 1
	@systemd-analyze security --offline=true --no-pager --threshold=$(HARDENING_LIMIT_WEB) \
		units/pppd-web.service | tail -n 1
