"""What run.py was told, for all modules of one test process."""

import functools
import os

build = os.environ.get("PPPCTL_TEST_BUILD", "build")
source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
levels = tuple(os.environ.get("PPPCTL_TEST_LEVELS", "serial,threads,processes,async").split(","))
leaks_of_pppctl = False         # whether AddressSanitizer looks for them; run.py has the files
kills = int(os.environ.get("PPPCTL_TEST_KILLS", "100"))         # of workers, in the tests that kill them over and over


@functools.cache
def sanitized():
    """Whether the programs were built with a sanitizer: then memory is more and time is longer."""
    with open(os.path.join(build, "pppd-runner"), "rb") as file:
        data = file.read()
    return b"__asan_" in data or b"__tsan_" in data
