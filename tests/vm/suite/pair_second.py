"""The second machine of a pair: a node that serves pages, and does as the first says until it is to die."""

import unittest

import pair_link
from case import tell_waiting


class Second(unittest.TestCase):
    def test_it_serves_until_it_dies(self):
        pair_link.step_clock(pair_link.AHEAD_SECONDS)
        pair_link.connect("second")
        pair_link.join("second")
        server = pair_link.Server("second")
        tell_waiting()
        server.end.wait()
