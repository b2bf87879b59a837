"""One step ahead: what is made while the last piece is written, and what happens when somebody leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import pytest

from tasks.ahead import ahead

WHO: ContextVar[str] = ContextVar("who", default="nobody")


def test_the_next_piece_is_made_while_the_last_is_used_and_none_further() -> None:
    begun = [threading.Event() for _ in range(4)]

    def make(heed: Callable[[], None]) -> Iterator[int]:
        for index in range(4):
            begun[index].set()
            yield index

    with ahead(make) as pieces:
        for piece in pieces:
            if piece < 3:
                assert begun[piece + 1].wait(5.0)
            if piece < 2:
                time.sleep(0.05)
                assert not begun[piece + 2].is_set()


def test_it_works_in_the_context_of_who_asked() -> None:
    WHO.set("a shard")

    def make(heed: Callable[[], None]) -> Iterator[str]:
        yield WHO.get()

    with ahead(make) as pieces:
        assert list(pieces) == ["a shard"]


def test_what_goes_wrong_is_raised_behind_what_was_made_before() -> None:
    def make(heed: Callable[[], None]) -> Iterator[int]:
        yield 0
        raise KeyError("no luck")

    used = []

    def use() -> None:
        with ahead(make) as pieces:
            for piece in pieces:
                used.append(piece)

    with pytest.raises(KeyError, match="no luck"):
        use()
    assert used == [0]


def test_who_leaves_ends_what_is_being_made() -> None:
    steps = []

    def make(heed: Callable[[], None]) -> Iterator[int]:
        yield 0
        for step in range(1000):
            heed()
            steps.append(step)
            time.sleep(0.01)
        yield 1

    def use() -> None:
        with ahead(make) as pieces:
            for _ in pieces:
                raise OSError("the disk is full")

    began = time.monotonic()
    with pytest.raises(OSError, match="full"):
        use()
    assert time.monotonic() - began < 5.0
    assert len(steps) < 500
