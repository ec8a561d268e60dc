#!/bin/sh
# The demo: starts the daemon of a build tree in a directory of its own, has it run the four pages
# at every level, prints the comparison, and leaves nothing behind.
#
#   tests/demo.sh [BUILD-DIRECTORY [PPPCTL-ARGUMENT...]]        (default: build compare)
set -eu

build=${1:-build}
[ $# = 0 ] || shift
[ $# -gt 0 ] || set -- compare

dir=$(mktemp -d "${TMPDIR:-/tmp}/pppctl.XXXXXX")
# A Unix socket's path has at most 107 bytes.
if [ ${#dir} -gt 90 ]; then
    rmdir "$dir"
    dir=$(mktemp -d /tmp/pppctl.XXXXXX)
fi
daemon=

finish() {
    status=$?
    trap '' INT TERM
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || :
    [ -z "$daemon" ] || wait "$daemon" || :
    case $status in
    0 | 130 | 143) ;;
    *) sed 's/^/demo: the daemon said: /' "$dir/log" >&2 ;;
    esac
    rm -rf "$dir"
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkfifo "$dir/ready"
: >"$dir/log"
"$build/tests/notify-run" "$build/pppd-supervisor" --socket "$dir/socket" --state "$dir/state" \
    >"$dir/ready" 2>"$dir/log" &
daemon=$!
# Ends when the daemon says it is ready, or without a line when it has ended.
if ! read -r _ <"$dir/ready"; then
    echo "demo: the daemon ended before it was ready" >&2
    exit 1
fi
"$build/pppctl" --socket "$dir/socket" "$@"
