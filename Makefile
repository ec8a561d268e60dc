# pppd: see README.md. `make demo` and `make check` are all a new user needs, `make help` lists more.

VERSION  := 0.1.0
PREFIX   ?= /usr/local
DESTDIR  ?=
CC       ?= cc
SANITIZE ?=
WERROR   ?= 0
V        ?= 0

comma := ,

# Each flavour builds into a directory of its own, so that they do not disturb each other.
ifeq ($(origin BUILD),undefined)
BUILD := build$(if $(SANITIZE),/sanitize-$(subst $(comma),-,$(SANITIZE)))
endif

# With sanitizers, whose reports need the lines alone, half the time to compile.
OPTIMIZE ?= $(if $(SANITIZE),-O1 -g1,-O2 -g)
WARNINGS := -Wall -Wextra -Wdate-time -Wdeclaration-after-statement -Wmissing-include-dirs \
	-Wmissing-noreturn -Wnested-externs -Wredundant-decls -Wshadow -Wstrict-aliasing=3 \
	-Wsuggest-attribute=noreturn -Wundef -Wwrite-strings -Wstrict-prototypes \
	-Wmissing-prototypes -Wformat=2 -Wvla -Wno-unused-parameter -Wno-maybe-uninitialized
# What only one of the two compilers knows.
WARNINGS += $(if $(findstring clang,$(shell $(CC) --version 2>/dev/null)), \
	-Wno-unknown-warning-option -Wno-gnu-alignof-expression,-Wlogical-op)
ifeq ($(WERROR),1)
WARNINGS += -Werror
endif
# _FORTIFY_SOURCE warns without optimization, and the sanitizers know better.
HARDENING ?= -fstack-protector-strong -fPIE $(if $(filter -O0,$(OPTIMIZE)),,-D_FORTIFY_SOURCE=2)
ifneq ($(SANITIZE),)
HARDENING := -fPIE
SANITIZE_FLAGS := -fsanitize=$(SANITIZE) -fno-omit-frame-pointer
ifneq ($(findstring undefined,$(SANITIZE)),)
SANITIZE_FLAGS += -fno-sanitize-recover=undefined
endif
endif

override CPPFLAGS += -D_GNU_SOURCE -I. -Iinclude -DPPPCTL_VERSION='"$(VERSION)"'
override CFLAGS += -std=gnu17 -fvisibility=hidden $(OPTIMIZE) $(WARNINGS) $(HARDENING) $(SANITIZE_FLAGS)
override LDFLAGS += -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(SANITIZE_FLAGS)

# One short line a step; V=1 shows the commands.
say = $(if $(filter 1,$(V)),,@printf '  %-5s %s\n' $(1) $(2);)

PROGRAMS := pppd-supervisor pppd-runner pppd-web pppctl
.DEFAULT_GOAL := all
.PHONY: all
all: $(PROGRAMS:%=$(BUILD)/%)
	@:

# One static library a part; the programs' mains stay outside, so that tests link what ships.
part_sources = $(filter-out %/main.c,$(sort $(wildcard $(1)/*.c $(1)/*/*.c $(1)/*.S $(1)/*/*.S)))
part_objects = $(patsubst %,$(BUILD)/obj/%.o,$(call part_sources,$(1)))

LIB_OBJECTS        := $(call part_objects,lib)
SUPERVISOR_OBJECTS := $(call part_objects,daemon/supervisor)
RUNNER_OBJECTS     := $(call part_objects,daemon/runner)
WEB_OBJECTS        := $(call part_objects,daemon/web)
CLI_OBJECTS        := $(call part_objects,cli)
PARTS              := supervisor runner web cli lib

$(BUILD)/lib.a: $(LIB_OBJECTS)
$(BUILD)/supervisor.a: $(SUPERVISOR_OBJECTS)
$(BUILD)/runner.a: $(RUNNER_OBJECTS)
$(BUILD)/web.a: $(WEB_OBJECTS)
$(BUILD)/cli.a: $(CLI_OBJECTS)
$(PARTS:%=$(BUILD)/%.a):
	$(call say,AR,$@)$(AR) rcsD $@.tmp $^ && mv $@.tmp $@

LIB_LIBS        := -ljansson
SUPERVISOR_LIBS := -lsystemd -lsqlite3
RUNNER_LIBS     := -luring -lhiredis -lz -lpthread -ldl
WEB_LIBS        := -lmicrohttpd -lsystemd
CLI_LIBS        := -lsmartcols
ALL_LIBS        := $(SUPERVISOR_LIBS) $(RUNNER_LIBS) $(WEB_LIBS) $(CLI_LIBS) $(LIB_LIBS)

$(BUILD)/pppd-supervisor: $(BUILD)/obj/daemon/supervisor/main.c.o $(BUILD)/supervisor.a $(BUILD)/lib.a
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(SUPERVISOR_LIBS) $(LIB_LIBS)
$(BUILD)/pppd-runner: $(BUILD)/obj/daemon/runner/main.c.o $(BUILD)/runner.a $(BUILD)/lib.a
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(RUNNER_LIBS) $(LIB_LIBS)
$(BUILD)/pppd-web: $(BUILD)/obj/daemon/web/main.c.o $(BUILD)/web.a $(BUILD)/lib.a
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(WEB_LIBS) $(LIB_LIBS)
$(BUILD)/pppctl: $(BUILD)/obj/cli/main.c.o $(BUILD)/cli.a $(BUILD)/lib.a
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ $(CLI_LIBS) $(LIB_LIBS)

# Objects are made again when compiler or flags change. Taken before any target adds its own.
FLAGS := $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)
$(BUILD)/obj/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS))' | cmp -s - $@ || \
		printf '%s\n' '$(subst ','\'',$(FLAGS))' >$@
.PHONY: FORCE
FORCE:

# What is missing is said in one sentence, before a compiler says it in hundreds.
$(BUILD)/obj/deps: packaging/install-deps.sh
	@mkdir -p $(@D)
	@CC='$(CC)' packaging/install-deps.sh --check build
	@touch $@

$(BUILD)/obj/%.c.o: %.c $(BUILD)/obj/flags | $(BUILD)/obj/deps
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/obj/%.S.o: %.S $(BUILD)/obj/flags | $(BUILD)/obj/deps
	@mkdir -p $(@D)
	$(call say,AS,$<)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# It embeds the interface's file, which -MMD cannot see.
$(BUILD)/obj/daemon/supervisor/api/interface.c.o: include/pppctl/io.pppctl.Jobs.varlink

# The vector path is compiled for its instruction set and chosen at run time.
ifneq ($(filter x86_64-%,$(shell $(CC) -dumpmachine 2>/dev/null)),)
$(BUILD)/obj/daemon/runner/workloads/wordcount-avx2.c.o: override CFLAGS += -mavx2 -mbmi -mpopcnt
endif

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

include packaging/package.mk tests/vm/vm.mk tests/fresh/fresh.mk tests/scale/scale.mk

# Unit tests: tests/unit/test-NAME.c makes one program each, linked with what ships. ThreadSanitizer looks for
# races, for which it takes a second thread: only those are built with it that have one.
WITH_THREADS := pthread_create|(fetch-batch|http-server|tls-server|redis-tls-client|async-job)\.h
UNIT_SOURCES := $(if $(filter thread,$(SANITIZE)),$(shell grep -lE '$(WITH_THREADS)' tests/unit/test-*.c),$(wildcard \
	tests/unit/test-*.c))
UNIT_TESTS   := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(sort $(UNIT_SOURCES)))
.PHONY: unit-tests
unit-tests: $(UNIT_TESTS)
	@:
$(BUILD)/tests/test-%: $(BUILD)/obj/tests/unit/test-%.c.o $(PARTS:%=$(BUILD)/%.a)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^ -lcunit -lssl -lcrypto $(ALL_LIBS)
.SECONDARY: $(UNIT_TESTS:$(BUILD)/tests/%=$(BUILD)/obj/tests/unit/%.c.o)
# Tests of what happens without memory: these calls of the libraries go through the program.
$(BUILD)/tests/test-fault: override LDFLAGS += $(addprefix -Wl$(comma)--wrap=,strdup vasprintf \
	__vasprintf_chk)

# Those whose allocations are made to fail, by tests/unit/alloc-fail.h.
WRAP_ALLOCATIONS := $(patsubst %,-Wl$(comma)--wrap=%,malloc calloc realloc reallocarray free strdup strndup \
	asprintf vasprintf __asprintf_chk __vasprintf_chk)
$(BUILD)/tests/test-out-of-memory: override LDFLAGS += $(WRAP_ALLOCATIONS)
# Those whose commands to a Redis are kept, by tests/unit/redis-fake.h.
$(addprefix $(BUILD)/tests/test-,chunks coordinator node): override LDFLAGS += -Wl,--wrap=redis_send,--wrap=redis_send_argv

# Runs a daemon for demo.sh and tells when it is ready.
.PHONY: notify-run
notify-run: $(BUILD)/tests/notify-run
	@:
$(BUILD)/tests/notify-run: $(BUILD)/obj/tests/notify-run.c.o $(BUILD)/lib.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -o $@ $^

# What installs packages first builds in another make: this one has looked at the machine already.
jobs     = $(if $(findstring -j,$(MAKEFLAGS)),,-j$$(nproc))
submake  = $(MAKE) --no-print-directory $(jobs)
# Debian's Python modules are of Debian's Python.
PYTHON  ?= $(firstword $(wildcard /usr/bin/python3) python3)
# Programs that were not built with a sanitizer do not look at these.
export ASAN_OPTIONS  ?= detect_stack_use_after_return=1:quarantine_size_mb=16
export UBSAN_OPTIONS ?= print_stacktrace=1
export TSAN_OPTIONS  ?= halt_on_error=1:suppressions=$(CURDIR)/tests/tsan.supp
# Tests to run: a part of their names.
ONLY    ?=

.PHONY: demo talk check check-unit check-integration stress bench deps
demo:
	@CC='$(CC)' packaging/install-deps.sh build demo
	+@$(submake) all notify-run
	@tests/demo.sh $(BUILD)
	@printf '\n%s\n' 'What is each level good for, and where are its pitfalls? `make talk` shows it (installed: pppctl talk).'
talk:
	@CC='$(CC)' packaging/install-deps.sh build demo
	+@$(submake) all notify-run
	@tests/demo.sh $(BUILD) talk
check:
	@CC='$(CC)' packaging/install-deps.sh build check
	+@$(submake) all unit-tests notify-run
	@PYTHON='$(PYTHON)' UNIT_TESTS='$(notdir $(UNIT_TESTS))' tests/run --build $(BUILD) --only '$(ONLY)' \
		unit demo integration
check-unit: unit-tests
	@UNIT_TESTS='$(notdir $(UNIT_TESTS))' tests/run --build $(BUILD) --only '$(ONLY)' unit
check-integration: all
	@PYTHON='$(PYTHON)' tests/run --build $(BUILD) --only '$(ONLY)' integration
# The same SEED makes the same choices; how they fall together is the machine's.
SECONDS ?= 60
SEED    ?=
stress: all
	@$(PYTHON) tests/stress/run.py --build $(BUILD) --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))
bench:
	@CC='$(CC)' packaging/install-deps.sh build check bench
	+@$(submake) all
	@$(PYTHON) tests/bench/run.py --build $(BUILD)
deps:
	@CC='$(CC)' packaging/install-deps.sh build check

# Each header stands alone, and what others may build on is C++ too.
CXX         ?= c++
ALL_HEADERS := $(shell find include lib daemon cli -name '*.h')
.PHONY: check-headers
check-headers:
	@for header in $(ALL_HEADERS); do \
		echo "#include \"$$header\"" | $(CC) $(CPPFLAGS) $(CFLAGS) -Werror -fsyntax-only -x c - || exit 1; \
	done
	@for header in $(patsubst include/%,%,$(filter include/%,$(ALL_HEADERS))); do \
		echo "#include <$$header>" | $(CXX) -std=c++11 -Iinclude -Wall -Wextra -Wpedantic -Werror \
			-fsyntax-only -x c++ - || exit 1; \
	done

# The layout of the C: one version of clang-format judges, since each has a taste of its own.
CLANG_FORMAT ?= clang-format
C_FILES       = $(shell find include lib daemon cli tests -name '*.[ch]')
.PHONY: format check-format
format:
	@$(CLANG_FORMAT) -i $(C_FILES)
check-format:
	@$(CLANG_FORMAT) --version | grep -q 'version 14' || { echo "check-format: clang-format 14 is not there;" \
		"packaging/install-deps.sh ci installs it on Debian 12" >&2; exit 1; }
	@$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)
	@! grep -nP '^.{101}' $(C_FILES) || { echo "check-format: lines longer than 100 columns" >&2; exit 1; }

# Likely faults, as .clang-tidy lists them, and files that have grown too long. Any output of clang-tidy is one,
# but for how many warnings were suppressed; that line it writes word by word, so each process has a pipe of its own.
CLANG_TIDY  ?= clang-tidy
PYTHON_FILES = $(shell find tests -name '*.py')
.PHONY: check-tidy
check-tidy:
	@! wc -l $(C_FILES) $(PYTHON_FILES) | awk '$$1 > 600 && $$2 != "total" { print $$2 ": more than 600 lines" }' | grep .
	@$(CLANG_TIDY) --version | grep -q 'version 14' || { echo "check-tidy: clang-tidy 14 is not there;" \
		"packaging/install-deps.sh ci installs it on Debian 12" >&2; exit 1; }
	@! printf '%s\n' $(filter %.c,$(C_FILES)) | \
		xargs -P "$$(nproc)" -I '{}' sh -c '"$$@" 2>&1 | grep -v "^[0-9]* warnings* generated\.$$"; true' \
			clang-tidy $(CLANG_TIDY) --quiet '{}' -- $(CPPFLAGS) -std=gnu17 | grep .

# Manual pages as mandoc reads them.
.PHONY: check-man
check-man:
	@command -v mandoc >/dev/null || { echo "check-man: mandoc is not there;" \
		"packaging/install-deps.sh ci installs it" >&2; exit 1; }
	@! mandoc -Tlint -W warning packaging/man/* | grep .
	@packaging/levels-numbers.py --check

# The context switch of the machine we are not on, under an emulator.
AARCH64_CC  ?= aarch64-linux-gnu-gcc
AARCH64_RUN ?= $(or $(shell command -v qemu-aarch64-static),qemu-aarch64)
AARCH64_SOURCES := tests/unit/fiber-standalone.c $(sort $(wildcard daemon/runner/loop/fiber*.c)) \
	daemon/runner/loop/fiber-aarch64.S
.PHONY: check-aarch64
check-aarch64: $(BUILD)/aarch64/fiber-standalone
	$(AARCH64_RUN) $<
AARCH64_HEADERS := $(wildcard daemon/runner/loop/fiber*.h tests/unit/fiber*.h lib/util.h)
$(BUILD)/aarch64/fiber-standalone: $(AARCH64_SOURCES) $(AARCH64_HEADERS)
	@mkdir -p $(@D)
	@command -v $(AARCH64_CC) >/dev/null || { echo "check-aarch64: $(AARCH64_CC) is not there;" \
		"packaging/install-deps.sh ci installs it, AARCH64_CC= names another" >&2; exit 1; }
	$(call say,CC,$@)$(AARCH64_CC) -static $(CPPFLAGS) -std=gnu17 -O2 -g -Wall -Wextra \
		-Wno-unused-parameter -Werror -o $@ $(AARCH64_SOURCES)

# tests/fuzz/fuzz-NAME.c makes one libFuzzer program each; what it finds stays in $(BUILD)/fuzz.
FUZZ_SECONDS ?= 60
FUZZ_CC      ?= clang
FUZZ_NAMES   := $(patsubst tests/fuzz/fuzz-%.c,%,$(sort $(wildcard tests/fuzz/fuzz-*.c)))
.PHONY: fuzz fuzz-programs
fuzz:
	@command -v $(FUZZ_CC) >/dev/null || { echo "fuzz: $(FUZZ_CC) is not there;" \
		"packaging/install-deps.sh ci installs it, FUZZ_CC= names another" >&2; exit 1; }
	+@$(submake) CC=$(FUZZ_CC) BUILD=$(BUILD)/fuzz SANITIZE=fuzzer-no-link,address,undefined \
		fuzz-programs
	@tests/fuzz/run --build $(BUILD)/fuzz --seconds $(FUZZ_SECONDS) --only '$(ONLY)'
fuzz-programs: $(FUZZ_NAMES:%=$(BUILD)/fuzz-%)
$(BUILD)/fuzz-%: $(BUILD)/obj/tests/fuzz/fuzz-%.c.o $(BUILD)/supervisor.a $(BUILD)/runner.a \
		$(BUILD)/web.a $(BUILD)/lib.a
	$(call say,LINK,$@)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(SUPERVISOR_LIBS) \
		$(RUNNER_LIBS) $(WEB_LIBS) $(LIB_LIBS)
.SECONDARY: $(FUZZ_NAMES:%=$(BUILD)/obj/tests/fuzz/fuzz-%.c.o)

bindir     ?= $(PREFIX)/bin
libexecdir ?= $(PREFIX)/libexec/pppctl
includedir ?= $(PREFIX)/include
datadir    ?= $(PREFIX)/share
mandir     ?= $(datadir)/man

HEADERS   := $(wildcard include/pppctl/*.h)
INTERFACE := $(wildcard include/pppctl/*.varlink include/pppctl/*.json)
MAN_PAGES := $(wildcard packaging/man/*.[1-8])
INSTALL   ?= install

# $(1): mode, $(2): files, $(3): directory
install_to = $(if $(2),$(INSTALL) -d '$(DESTDIR)$(3)' && $(INSTALL) -m $(1) $(2) '$(DESTDIR)$(3)')
# $(1): file, $(2): its new path
install_as = $(INSTALL) -D -m 644 $(1) '$(DESTDIR)$(2)'

.PHONY: install uninstall
install: all
	$(call install_to,755,$(BUILD)/pppctl,$(bindir))
	$(call install_to,755,$(filter-out %/pppctl,$(PROGRAMS:%=$(BUILD)/%)),$(libexecdir))
	$(call install_to,644,$(HEADERS),$(includedir)/pppctl)
	$(call install_to,644,$(INTERFACE),$(datadir)/pppctl)
	$(call install_to,644,README.md LICENSE $(wildcard docs/*.md),$(datadir)/doc/pppctl)
	$(call install_to,644,$(filter %.1,$(MAN_PAGES)),$(mandir)/man1)
	$(call install_to,644,$(filter %.5,$(MAN_PAGES)),$(mandir)/man5)
	$(call install_to,644,$(filter %.7,$(MAN_PAGES)),$(mandir)/man7)
	$(call install_to,644,$(filter %.8,$(MAN_PAGES)),$(mandir)/man8)
	$(call install_as,packaging/completions/pppctl.bash,$(datadir)/bash-completion/completions/pppctl)
	$(call install_as,packaging/completions/_pppctl,$(datadir)/zsh/site-functions/_pppctl)
	$(call install_as,packaging/completions/pppctl.fish,$(datadir)/fish/vendor_completions.d/pppctl.fish)

uninstall:
	rm -f '$(DESTDIR)$(bindir)/pppctl' '$(DESTDIR)$(datadir)/bash-completion/completions/pppctl' \
		'$(DESTDIR)$(datadir)/zsh/site-functions/_pppctl' \
		'$(DESTDIR)$(datadir)/fish/vendor_completions.d/pppctl.fish'
	rm -f $(foreach page,$(MAN_PAGES),'$(DESTDIR)$(mandir)/man$(patsubst .%,%,$(suffix $(page)))/$(notdir $(page))')
	rm -rf '$(DESTDIR)$(libexecdir)' '$(DESTDIR)$(includedir)/pppctl' '$(DESTDIR)$(datadir)/pppctl' \
		'$(DESTDIR)$(datadir)/doc/pppctl'

.PHONY: clean help
clean:
	rm -rf build

help:
	@printf '%s\n' \
	'make                    build into build/' \
	'make demo               install what is missing, build, run four pages at every level, compare' \
	'make talk               show what each level is good for, chapter by chapter' \
	'make check              install what is missing, build, run all tests (ONLY=part of a name)' \
	'make check-unit         unit tests only' \
	'make check-integration  integration tests only' \
	'make stress             random calls, kills and restarts for SECONDS=60; SEED= repeats a run' \
	'make check-aarch64      the aarch64 context switch under qemu' \
	'make check-headers      each header alone, and public ones in C++; check-man: manual pages' \
	'make check-format       the layout of the C, as clang-format 14 makes it (make format)' \
	'make check-tidy         likely faults, as clang-tidy 14 sees them, and functions and files that are too long' \
	'make fuzz               FUZZ_SECONDS=60 for each fuzz target' \
	'make bench              side by side with what else one would use' \
	'make scale              the level machines with a thousand simulated nodes (docs/scale.md)' \
	'make deb, make rpm      packages, in build/deb and build/rpm' \
	'make check-vm           packages in virtual machines (also check-deb, check-rpm, check-hardening)' \
	'make check-fresh        make demo, check and deb on bare Debian 12 and 13, as root' \
	'make install            PREFIX=/usr/local DESTDIR=; install-units adds those of systemd' \
	'make deps               install what building and testing needs' \
	'SANITIZE=address,undefined | thread, CC=clang, OPTIMIZE=-O0, V=1 go with each'
