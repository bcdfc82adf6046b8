"""The garbage collector and what a node is made of."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from perpbot.app.heap import set_aside


@pytest.fixture(autouse=True)
def thaw() -> Iterator[None]:
    """Other tests want their garbage collected."""
    yield
    gc.unfreeze()


class Knot:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_alive_is_not_walked_over_any_more() -> None:
    """Almost everything that there is; what is made afterwards is collected as ever."""
    before = len(gc.get_objects())
    set_aside()
    assert gc.get_freeze_count() > before / 2
    later = weakref.ref(Knot())
    gc.collect()
    assert later() is None


def test_what_has_ended_since_is_freed_by_the_next_call() -> None:
    """A node that begins anew does not keep the one before it."""
    knot = Knot()
    seen = weakref.ref(knot)
    set_aside()
    del knot
    gc.collect()
    assert seen() is not None
    set_aside()
    assert seen() is None
