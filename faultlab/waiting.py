"""Waiting for a state, within bounds. Nothing in the lab sleeps where it could wait for something."""

import time
from typing import Callable, Optional


class Late(AssertionError):
    """Something did not come about in time."""


def until(what: str, done: Callable[[], object], within: float = 60.0, every: float = 0.02) -> float:
    """Waits until `done` says so; how long that took. Errors of a server that is away are no answer yet."""
    begun = time.monotonic()
    last: Optional[Exception] = None
    while True:
        try:
            if done():
                return time.monotonic() - begun
        except Late:
            raise
        except Exception as error:  # the server may be away; the bound below is the judge
            last = error
        if time.monotonic() - begun > within:
            why = f" ({type(last).__name__}: {last})" if last else ""
            raise Late(f"not within {within:.0f} s: {what}{why}")
        time.sleep(every)


def stays(what: str, true: Callable[[], object], for_seconds: float, every: float = 0.1) -> None:
    """The contrary: something must hold all the while."""
    end = time.monotonic() + for_seconds
    while time.monotonic() < end:
        if not true():
            raise Late(f"did not stay so for {for_seconds:.0f} s: {what}")
        time.sleep(every)
