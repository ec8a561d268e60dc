#!/bin/sh
# Installs the packages that building (build), the demo (demo), testing (check), making and checking
# the .deb (deb) and the .rpm (rpm), fresh machines (fresh) and virtual ones (vm), the whole of
# .ci/run (ci) and benchmarking (bench) need and that are not there; does nothing when all are.
#
#   packaging/install-deps.sh [--check] [build|demo|check|deb|rpm|fresh|vm|ci|bench]...
#
# --check only says what is missing (exit status 1). What is there is found out by looking for
# headers and programs, not by asking the package manager, so other distributions are fine too.
#
# Packages that are there already are left as they are, unless one that is missing cannot be had
# without another version of them. Those are named first, with the reason, and on a terminal there
# is a question. PPPCTL_UPGRADE=yes answers it, PPPCTL_UPGRADE=no refuses where nobody can be asked.
set -u

top=$(cd "$(dirname "$0")/.." && pwd) || exit

cc=${CC:-cc}
command -v "$cc" >/dev/null 2>&1 || cc=cc
[ -n "${PATH##*/sbin*}" ] && PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
missing=                        # what is not there, for people
debian=                         # packages
fedora=

# want NAME DEBIAN-PACKAGES FEDORA-PACKAGES
want() {
    case "$missing," in
    *", $1,"*) return ;;
    esac
    missing="$missing, $1"
    debian="$debian $2"
    fedora="$fedora $3"
}

# program NAME DEBIAN FEDORA: an executable on the path
program() {
    command -v "$1" >/dev/null 2>&1 || want "$@"
}

# file PATH DEBIAN FEDORA [NAME]
file() {
    [ -e "$1" ] || want "${4:-$1}" "$2" "$3"
}

# includes HEADER...: whether the compiler finds them all
# shellcheck disable=SC2086 # CPPFLAGS are words
includes() {
    for header; do
        echo "#include <$header>"
    done | "$cc" -D_GNU_SOURCE ${CPPFLAGS:-} -fsyntax-only -x c - >/dev/null 2>&1
}

# headers HEADER DEBIAN FEDORA ...: looked for all at once, then one by one if that failed
headers() {
    all=
    n=0
    for word; do
        [ $((n % 3)) = 0 ] && all="$all $word"
        n=$((n + 1))
    done
    # shellcheck disable=SC2086 # words
    includes $all && return
    while [ $# -gt 0 ]; do
        includes "$1" || want "$@"
        shift 3
    done
}

# links SOURCE OPTION...: whether a program of one line links, for libraries that have no header
links() {
    echo "$1" | { shift; "$cc" -x c - -o /dev/null "$@" >/dev/null 2>&1; }
}

# installed PACKAGE: as dpkg knows it; asked only where a tool of Debian's asks dpkg too
installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ||
        want "$1" "$1" ""
}

# The packages that debian/control builds with, one a line, without those that debhelper provides.
build_depends() {
    echo build-essential debhelper
    sed -n '/^Build-Depends:/,/^[^ B]/ { s/^Build-Depends://; /^[^ ]/d; s/[(<][^)>]*[)>]//g; s/,/ /g; p }' \
        "$top/packaging/debian/control" | tr ' ' '\n' | grep -v -e '^debhelper-compat$' -e '^dh-sequence-'
}

module() {
    "$python" -c "import $1" >/dev/null 2>&1 || want "Python's $1" "$2" "$3"
}

look_build() {
    program make make make
    program "$cc" "gcc libc6-dev" "gcc glibc-devel"
    headers stdio.h "gcc libc6-dev" "gcc glibc-devel" \
        liburing.h liburing-dev liburing-devel \
        systemd/sd-event.h libsystemd-dev systemd-devel \
        curl/curl.h "libcurl4-openssl-dev ca-certificates" "libcurl-devel ca-certificates" \
        idn2.h libidn2-dev libidn2-devel \
        jansson.h libjansson-dev jansson-devel \
        hiredis/hiredis.h libhiredis-dev hiredis-devel \
        openssl/ssl.h libssl-dev openssl-devel \
        sqlite3.h libsqlite3-dev sqlite-devel \
        zlib.h zlib1g-dev zlib-devel \
        microhttpd.h libmicrohttpd-dev libmicrohttpd-devel \
        libsmartcols/libsmartcols.h libsmartcols-dev libsmartcols-devel
    # The runner opens it by that name. Debian's GnuTLS flavour of the headers comes without.
    case $(ldconfig -p 2>/dev/null) in
    *libcurl.so.4*) ;;
    *) want libcurl.so.4 libcurl4 libcurl ;;
    esac
}

# The level machines starts a Redis of its own, where there is one to start.
look_demo() {
    [ -z "${looked_demo:-}" ] || return 0
    looked_demo=yes
    command -v valkey-server >/dev/null 2>&1 || program redis-server redis-server valkey
}

look_check() {
    [ -z "${looked_check:-}" ] || return 0
    looked_check=yes
    look_demo
    headers CUnit/Basic.h libcunit1-dev CUnit-devel
    program python3 python3 python3
    python=/usr/bin/python3
    [ -x $python ] || python=python3
    module prometheus_client python3-prometheus-client python3-prometheus_client
    program openssl openssl openssl
    program nginx "nginx-light libnginx-mod-http-echo" nginx
    # Fedora has no package of this module; the tests that need it are skipped there.
    [ ! -e /etc/debian_version ] ||
        file /usr/lib/nginx/modules/ngx_http_echo_module.so libnginx-mod-http-echo "" \
            "nginx's echo module"
}

# dpkg-buildpackage takes nothing but Debian's packages; lintian looks at the result.
look_deb() {
    if command -v dpkg-query >/dev/null 2>&1; then
        for package in $(build_depends); do
            installed "$package"
        done
    fi
    program dpkg-buildpackage dpkg-dev dpkg-dev
    program dh debhelper debhelper
    program fakeroot fakeroot fakeroot
    program lintian lintian lintian
    program pkg-config pkgconf pkgconf-pkg-config
    program systemd-analyze systemd systemd
    headers CUnit/Basic.h libcunit1-dev CUnit-devel
}

look_rpm() {
    program rpmbuild rpm rpm-build
    program rpmlint rpmlint rpmlint
    program file file file
    program xz xz-utils xz
    # Debian has none of these; packaging/rpm/macros.debian stands in.
    [ -e /etc/debian_version ] ||
        file /usr/lib/rpm/macros.d/macros.systemd "" systemd-rpm-macros "systemd's macros for rpm"
}

look_fresh() {
    program git git git
    program mmdebstrap mmdebstrap mmdebstrap
    program python3 python3 python3
    program unshare util-linux util-linux
}

look_vm() {
    program mmdebstrap mmdebstrap mmdebstrap
    program qemu-system-x86_64 qemu-system-x86 qemu-system-x86-core
    program mke2fs e2fsprogs e2fsprogs
    program dpkg-deb dpkg dpkg
    program openssl openssl openssl
    program python3 python3 python3
}

look_ci() {
    look_check
    look_deb
    look_rpm
    look_fresh
    look_vm
    program clang "clang libclang-rt-dev" "clang compiler-rt"
    program aarch64-linux-gnu-gcc "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" \
        "gcc-aarch64-linux-gnu sysroot-aarch64-fc$(rpm -E %fedora 2>/dev/null)-glibc"
    command -v qemu-aarch64 >/dev/null 2>&1 ||
        program qemu-aarch64-static qemu-user-static qemu-user-static-aarch64
    program shellcheck shellcheck ShellCheck
    program mandoc mandoc mandoc
    program clang-format clang-format clang-tools-extra
    program clang-tidy clang-tidy clang-tools-extra
    program c++ g++ gcc-c++
    # Debian's gcc comes with them, so they are not looked for where there is none yet.
    version=$("$cc" -dumpversion 2>/dev/null | cut -d. -f1)
    for sanitizer in address undefined thread; do
        links 'int main(void) { return 0; }' -fsanitize=$sanitizer ||
            want "the $sanitizer sanitizer" "${version:+libgcc-$version-dev}" \
                "lib$(echo $sanitizer | sed 's/address/asan/;s/undefined/ubsan/;s/thread/tsan/')"
    done
}

look_bench() {
    look_check
    module aiohttp python3-aiohttp python3-aiohttp
    module uvloop python3-uvloop python3-uvloop
    module requests python3-requests python3-requests
    module rq python3-rq python3-rq
    module celery python3-celery python3-celery
    program curl curl curl
    program wrk wrk wrk
    program xargs findutils findutils
    program parallel parallel parallel
}

# Everything below runs as root.

# Prints a line for each package that is there and would not stay as it is, with the reason.
changes() {
    LC_ALL=C apt-get -s -q --no-install-recommends --no-upgrade \
        -o Debug::pkgDepCache::AutoInstall=true install "$@" 2>&1 | awk '
        function bare(word) { sub(/:.*/, "", word); return word }
        /^ *Upgrading .* due to / { why[bare($2)] = ": " bare($NF) " needs that" }
        /^Inst [^ ]+ \[/ {
            gsub(/[][(]/, "")
            print "    upgraded: " $2 ", " $3 " to " $4 why[bare($2)]
        }
        /^Remv / { print "    removed: " $2 }'
}

# Exit status 3 of install_debian: nothing was wrong, but nothing was done.
refuse() {
    echo "install-deps: $1" >&2
    exit 3
}

# agree CHANGES: asks on a terminal. Elsewhere nothing could be built without the upgrades, so they
# are only named; but nothing is removed.
agree() {
    [ -n "$1" ] || return 0
    printf 'install-deps: what is here already would change:\n%s\n' "$1" >&2
    case ${PPPCTL_UPGRADE:-} in
    yes) return 0 ;;
    no) refuse "nothing was installed, for PPPCTL_UPGRADE=no forbids these changes" ;;
    esac
    if [ -t 0 ] && [ -t 2 ]; then
        printf 'install-deps: go on? [y/N] ' >&2
        read -r answer
        case $answer in
        [yY]*) return 0 ;;
        esac
        refuse "nothing was installed; nothing has changed"
    fi
    case $1 in
    *removed:*) refuse "nothing was installed: packages would have to be removed, and nobody can be
asked without a terminal. PPPCTL_UPGRADE=yes agrees" ;;
    esac
}

# A package with a service must not start it here: on Debian the local administrator's policy-rc.d
# forbids that; nginx and redis-server are only wanted as programs.
install_debian() {
    export DEBIAN_FRONTEND=noninteractive
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy
        trap 'rm -f $policy' EXIT
        trap 'exit 130' INT TERM
    fi
    had_nginx=$(command -v nginx)
    had_redis=$(command -v redis-server)
    apt-get -q update ||
        echo "install-deps: the package lists could not be fetched; trying with those there are" >&2
    agree "$(changes "$@")"
    apt-get -q -y --no-install-recommends --no-upgrade install "$@" || return 1
    if [ -z "$had_nginx" ] && [ -d /run/systemd/system ] && command -v nginx >/dev/null 2>&1; then
        systemctl --quiet disable nginx.service
    fi
    if [ -z "$had_redis" ] && [ -d /run/systemd/system ] && command -v redis-server >/dev/null 2>&1; then
        systemctl --quiet disable redis-server.service
    fi
}

# On a terminal dnf names all it would do, and asks.
install_fedora() {
    if [ "${PPPCTL_UPGRADE:-}" = no ] &&
        LC_ALL=C dnf --assumeno --setopt=install_weak_deps=False install "$@" 2>&1 |
        grep -q -e '^Upgrading:' -e '^Removing:'; then
        refuse "nothing was installed: dnf would change what is here, and PPPCTL_UPGRADE=no forbids it"
    fi
    yes=-y
    [ ! -t 0 ] || [ "${PPPCTL_UPGRADE:-}" = yes ] || yes=
    dnf $yes --setopt=install_weak_deps=False install "$@"
}

give_up() {
    echo "install-deps: $1" >&2
    exit 1
}

# What root has to run in our stead: it fetches the lists of packages, and starts no service.
by_root="sh $top/packaging/install-deps.sh"

# as_root COMMAND...
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif ! command -v sudo >/dev/null 2>&1; then
        give_up "not root, and there is no sudo. As root, run: $by_root"
    elif [ -t 0 ]; then
        sudo "$@"
    elif sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        give_up "sudo gives no rights without a password, and there is no terminal to ask for it.
As root, run: $by_root"
    fi
}

if [ "${1:-}" = --as-root ]; then
    shift
    "$@"
    exit
fi

check=false
if [ "${1:-}" = --check ]; then
    check=true
    shift
fi
[ $# -gt 0 ] || set -- build check
by_root="$by_root $*"
for group; do
    case $group in
    build | demo | check | deb | rpm | fresh | vm | ci | bench) "look_$group" ;;
    *)
        give_up "there is no group of packages \"$group\"; there are build, demo, check, deb, rpm,
fresh, vm, ci and bench"
        ;;
    esac
done
[ -n "$missing" ] || exit 0
missing=${missing#, }

if command -v apt-get >/dev/null 2>&1; then
    manager=apt-get install=install_debian packages=$debian
elif command -v dnf >/dev/null 2>&1; then
    manager=dnf install=install_fedora packages=$fedora
else
    give_up "missing: $missing. There is neither apt-get nor dnf here: install these by the means of
this system. On Debian they are in:$debian; on Fedora in:$fedora"
fi
# shellcheck disable=SC2086 # words
packages=$(printf '%s\n' $packages | sort -u | tr '\n' ' ')
packages=${packages% }

if $check; then
    give_up "missing: $missing. Run \`make deps\`, or install with $manager: $packages"
fi
echo "install-deps: missing: $missing"
echo "install-deps: installing with $manager: $packages"
# shellcheck disable=SC2086 # words
as_root env PPPCTL_UPGRADE="${PPPCTL_UPGRADE:-}" sh "$0" --as-root $install $packages
case $? in
0) ;;
3) exit 1 ;;
*) give_up "$manager could not install: $packages (see above). If this machine has no network, or
you may not install here, have them installed by who may, then run this again" ;;
esac
