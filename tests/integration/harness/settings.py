"""What run.py was told, for all modules of one test process."""

import os

build = os.environ.get("PPPCTL_TEST_BUILD", "build")
source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
verbose = False
