#!/usr/bin/python3
"""The README's commands on fresh machines: bare roots of Debian, in namespaces of their own.

python3 tests/fresh/run.py [--cache DIR] [--suite NAME]... [--only PATTERN]

Each command has a machine of its own: a minimal root with nothing but git, make and sudo, as root, whose home has
mode 0700, and as a plain user with sudo. A third user has none: the line of advice that `make demo` ends with there
is run as root, then `make demo` again. And what .ci/run installs has to be all that it looks for. No package that
was there may change but those that were named before. PATTERN is a part of a name (bookworm-user-check). What a
command wrote is in DIR/NAME.log. Roots and packages are kept in DIR, so that the next run downloads little. Needs
root, mmdebstrap and util-linux. The last line is `N passed, N failed`; exit status 1 if any failed.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path += [os.path.join(TOP, "tests", "vm"), os.path.join(TOP, "tests", "integration")]

import aptconf  # noqa: E402
from harness import daemon as cgroups  # noqa: E402

PACKAGES = ("git", "make", "sudo")
SECONDS = 3600
# As the user without sudo; the line that it prints for root is kept.
REFUSED = """! make demo >advice 2>&1 && cat advice && grep -o 'As root, run: .*' advice | cut -d ' ' -f 4- >as-root && test -s as-root"""
COMMANDS = ("demo", "check", "deb")


class Trouble(Exception):
    """No machine can be had; the text says why and what to do."""


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", default="build/fresh", help="where roots, packages and logs are kept")
    parser.add_argument("--suite", action="append", help="a Debian (default: bookworm and trixie)")
    parser.add_argument("--only", default="", help="machines whose name has this part")
    return parser.parse_args()


def machines(suites):
    """(name, suite, [(user, command)])"""
    for suite in suites:
        for user in ("root", "user"):
            for command in COMMANDS:
                yield f"{suite}-{user}-{command}", suite, [(user, f"make {command}")]
        yield f"{suite}-root-ci", suite, [("root", "packaging/install-deps.sh build check ci && "
                                           "packaging/install-deps.sh --check build check ci")]
        yield f"{suite}-nosudo-demo", suite, [("nosudo", REFUSED), ("root", "sh -eux ~nosudo/pppd/as-root"),
                                              ("nosudo", "make demo")]


# Roots

def base_root(cache, suite):
    """The tree of a bare machine, as a tar archive; made if it isn't in the cache."""
    key = hashlib.sha256(" ".join((suite, *PACKAGES)).encode()).hexdigest()[:16]
    path = os.path.join(cache, f"{suite}-{key}.tar")
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            print(f"making a bare root of Debian {suite}: {path}", flush=True)
            make_root(path, suite)
    return path


def make_root(path, suite):
    mirror = aptconf.own_mirror()
    temp = f"{path}.new"
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=tar",
               "--include=" + ",".join(PACKAGES), *(f"--aptopt={line}" for line in aptconf.own_options()),
               suite, temp, *([mirror] if mirror else [])]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Trouble(f"cannot make a root of Debian {suite}: mmdebstrap ended with {done.returncode}; see to the "
                      f"network and to the apt sources of this machine. It said:\n"
                      f"{done.stdout.decode(errors='replace')[-4000:]}")
    os.rename(temp, path)


def set_up(directory, root, bundle, suite):
    """A machine's tree in `directory`/root: users, sources of packages, and the checkout to clone."""
    tree = os.path.join(directory, "root")
    os.mkdir(tree)
    check(["tar", "-C", tree, "-xpf", root, "--numeric-owner", "--xattrs", "--xattrs-include=*"], "unpack the root")
    shutil.copy(bundle, os.path.join(tree, "srv", "pppd.bundle"))
    shutil.copy("/etc/resolv.conf", os.path.join(tree, "etc", "resolv.conf"))
    write(tree, "etc/dpkg/dpkg.cfg.d/fast", "force-unsafe-io\n")
    write(tree, "etc/hosts", "127.0.0.1 localhost fresh\n")
    write(tree, "etc/apt/sources.list", "".join(f"{line}\n" for line in aptconf.sources(suite)))
    for user in ("user", "nosudo"):
        check(["chroot", tree, "useradd", "--create-home", "--shell", "/bin/bash", user], f"make {user}")
    write(tree, "etc/sudoers.d/user", "user ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    os.chmod(os.path.join(tree, "root"), 0o700)


def write(tree, name, text, mode=0o644):
    path = os.path.join(tree, name)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def check(command, attempted):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Trouble(f"cannot {attempted}: {' '.join(command)} ended with {done.returncode}:\n"
                      f"{done.stdout.decode(errors='replace')[-2000:]}")


def make_bundle(path):
    """The commit that is checked out; what is not committed is not in a clone."""
    git = ["git", "-c", f"safe.directory={TOP}", "-C", TOP]
    if subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False).returncode:
        print("there are changes that are not committed: they are not tried", flush=True)
    check([*git, "bundle", "create", "--quiet", path, "HEAD"], "bundle the checkout")


# Running

@contextlib.contextmanager
def own_group():
    """A cgroup for all of a machine's processes, by its path; None where none can be made."""
    mount = cgroups.cgroup_mount()
    path = os.path.join(mount or "/nonexistent", f"pppctl-fresh-{os.getpid()}")
    try:
        os.mkdir(path)
    except OSError:
        path = None
    try:
        yield path
    finally:
        if path:
            cgroups.remove_group(path)


def run_inside(directory, group, user, command, log):
    """Exit status of a command of `user`, in namespaces and below a cgroup of its own."""
    def join():
        if group:
            with open(os.path.join(group, "cgroup.procs"), "w") as file:
                file.write("0")
    process = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child=KILL",
         "sh", os.path.join(HERE, "inside.sh"), os.path.join(directory, "root"), user, command],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=join, start_new_session=True)
    try:
        return process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        log.write(f"\nnot within {SECONDS} s\n")
        return None
    finally:
        process.kill()
        process.wait()


def run_machine(args, bundle, name, suite, steps):
    """Whether all steps went well."""
    root = base_root(args.cache, suite)
    archives = os.path.join(args.cache, f"archives-{suite}")
    os.makedirs(os.path.join(archives, "partial"), exist_ok=True)
    directory = tempfile.mkdtemp(prefix=f"{name}.", dir=args.cache)
    try:
        set_up(directory, root, bundle, suite)
        os.symlink(archives, os.path.join(directory, "archives"))
        before = versions(directory)
        with open(os.path.join(args.cache, f"{name}.log"), "w+", buffering=1) as log:
            return all(run_step(directory, user, command, log) for user, command in steps) and \
                only_named_change(before, versions(directory), log)
    finally:
        shutil.rmtree(directory)


def run_step(directory, user, command, log):
    log.write(f"=== {user}: {command}\n")
    with own_group() as group:
        status = run_inside(directory, group, user, command, log)
    log.write(f"=== exit status {status}\n")
    return status == 0


def versions(directory):
    """{package: version}"""
    output = subprocess.run(["chroot", os.path.join(directory, "root"), "dpkg-query", "-W", "-f",
                             "${Package}\\t${Version}\\n"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(line.split("\t") for line in output.splitlines())


def only_named_change(before, after, log):
    """Whether each package that was there is as it was, or was named before it was upgraded."""
    log.seek(0)
    named = set(re.findall(r"(?m)^    upgraded: (\S+), ", log.read()))
    changed = {name for name, version in before.items() if after.get(name) != version}
    log.write(f"=== upgraded: {sorted(changed)}; named: {sorted(named)}\n")
    return changed == named


def show_end(path):
    with open(path, errors="replace") as file:
        lines = file.read().splitlines()
    print(f"    the end of {path}:")
    print("".join(f"    {line}\n" for line in lines[-40:]), end="", flush=True)


def main():
    args = parse_args()
    args.cache = os.path.abspath(args.cache)
    chosen = [m for m in machines(args.suite or ["bookworm", "trixie"]) if args.only in m[0]]
    if not chosen:
        sys.exit(f"run.py: no machine's name has {args.only!r}")
    if os.geteuid() != 0:
        sys.exit("run.py: root makes these machines; run it with sudo")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.makedirs(args.cache, exist_ok=True)
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="pppctl-fresh-") as temp:
        bundle = os.path.join(temp, "pppd.bundle")
        make_bundle(bundle)
        for name, suite, steps in chosen:
            began = time.monotonic()
            good = run_machine(args, bundle, name, suite, steps)
            passed, failed = passed + good, failed + (not good)
            print(f"{'ok  ' if good else 'FAIL'} {name} {time.monotonic() - began:.0f} s", flush=True)
            if not good:
                show_end(os.path.join(args.cache, f"{name}.log"))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    try:
        main()
    except Trouble as error:
        sys.exit(f"run.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
