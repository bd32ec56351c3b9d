"""Telling a waiting person what goes on: nothing here is silent for more than a few seconds."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]
EVERY_S = 3.0


def quiet(_: str) -> None:
    """Say nothing, where a test runner speaks for us."""


@contextmanager
def ticking(say: Say, what: str, seen: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Say `what`, and every few seconds that it still goes on and what is `seen` of it."""
    start, over = time.monotonic(), threading.Event()
    say(what)

    def tick() -> None:
        while not over.wait(EVERY_S):
            say(f"  … {time.monotonic() - start:.0f} s {seen()}".rstrip())

    thread = threading.Thread(target=tick, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
