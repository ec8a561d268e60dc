"""The second machine of a pair: a node that serves pages, and does as the first says until it is to die."""

import unittest

import pair_link


class Second(unittest.TestCase):
    def test_it_serves_until_it_dies(self):
        pair_link.step_clock(pair_link.AHEAD_SECONDS)
        pair_link.connect("second")
        pair_link.join("second")
        pair_link.Server("second").end.wait()
