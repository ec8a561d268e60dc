#!/bin/sh
# The first process of a fresh machine's namespaces: mounts what a container has, then runs a command in it.
#
#   inside.sh ROOT USER COMMAND
#
# ROOT is the machine's tree, COMMAND is for the shell of USER, in a clone of /srv/pppd.bundle in that
# user's home. Mounts and processes go with the namespaces. Exit status: COMMAND's, 97 if it left a
# process behind, 98 if the machine could not be set up.
set -eu
trap 'status=$?; [ -n "${ready:-}" ] || exit 98; exit $status' EXIT
root=$1 user=$2 command=$3

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
# Of a cgroup namespace that begins at a group of ours. A kernel without cgroup v2 has none of it.
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup" ||
    echo "inside.sh: no cgroup v2 here" >&2
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0:stdin 1:stdout 2:stderr; do
    ln -s "/proc/self/fd/${number%:*}" "$root/dev/${number#*:}"
done
mount --bind "$root/../archives" "$root/var/cache/apt/archives"
hostname fresh

home=$(chroot "$root" sh -c "echo ~$user")
cd /
ready=yes
status=0
# The shell that is process 1 takes the exit status of every orphan when it waits.
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    HOME="$home" USER="$user" LOGNAME="$user" SHELL=/bin/bash \
    setsid --wait chroot --userspec="$user:" "$root" sh -c "
        cd && { [ -d pppd ] || git clone -q /srv/pppd.bundle pppd; } && cd pppd && $command" </dev/null || status=$?

# Sets $left to the command lines of all processes but this one; a zombie has none.
find_left() {
    left=
    for directory in "$root"/proc/[0-9]*; do
        line=$(tr '\0' ' ' <"$directory/cmdline" 2>/dev/null) || continue
        case ${directory##*/} in
        1) ;;
        *) [ -z "$line" ] || left="$left
    ${directory##*/}: $line" ;;
        esac
    done
}

tries=0
while find_left && [ -n "$left" ]; do
    if [ $tries = 10 ]; then
        echo "processes are left:$left"
        [ $status != 0 ] || status=97
        break
    fi
    tries=$((tries + 1))
    sleep 1
done
exit $status
