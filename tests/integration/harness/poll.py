"""Waiting for a condition: with a deadline, never for a fixed time."""

import time


class Late(AssertionError):
    """A condition that did not come true in its time."""


def wait_until(condition, what, seconds=30.0, step=0.005):
    """Returns the first true value of condition(); raises Late with `what` (text or function) if there is none."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise Late(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(step)
