"""How this machine's apt reaches Debian, so that the roots that tests make can do the same."""

import glob
import os
import re
import subprocess


def own_mirror():
    """Where this machine's apt gets Debian from; None elsewhere: mmdebstrap knows one itself."""
    codename = _codename()
    return next((uri for uri, suites in own_sources() if codename and codename in suites), None)


def _codename():
    with open("/etc/os-release") as file:
        match = re.search(r"^VERSION_CODENAME=(.*)$", file.read(), re.MULTILINE)
    return match[1].strip('"') if match else None


def own_sources():
    """(URI, suites) of each source, from both of the formats in sources.list(5)."""
    for path in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*.list"))]:
        for line in _lines(path):
            match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", line)
            if match:
                yield match[1], [match[2]]
    for path in sorted(glob.glob("/etc/apt/sources.list.d/*.sources")):
        for paragraph in re.split(r"\n\s*\n", "\n".join(_lines(path))):
            fields = dict(re.findall(r"^(\S+):\s*(.*)$", paragraph, re.MULTILINE))
            if "deb" in fields.get("Types", "").split() and fields.get("URIs"):
                yield fields["URIs"].split()[0], fields.get("Suites", "").split()


def _lines(path):
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [line.rstrip("\n") for line in file if not line.startswith("#")]


def own_options():
    """How this machine reaches its mirror: what it says of proxies, certificates and dates goes for the root too."""
    dump = subprocess.run(["apt-config", "dump"], stdout=subprocess.PIPE, text=True, check=False).stdout
    wanted = re.compile(r'^Acquire::(Check-Valid-Until|Check-Date|Max-FutureTime|https?::\S*) "[^"]+";$')
    return [line for line in dump.splitlines() if wanted.match(line)]


def sources(suite):
    """Lines of sources.list(5) for `suite`: what this machine takes of its own, its updates and security too."""
    own = _codename()
    lines = [f"deb {uri} {suite}{name[len(own):]} main" for uri, suites in own_sources() for name in suites
             if own and (name == own or name.startswith(own + "-"))]
    return lines or [f"deb http://deb.debian.org/debian {suite} main"]
