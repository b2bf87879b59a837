"""One step ahead: the next piece of work is begun while the last one is being written.

Enters: what makes one piece after the other. Leaves: the pieces, in order. Networks do not wait for files, nor files for
networks: compressing a large picture and putting it into a bucket take as long as a step of painting it.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Piece = TypeVar("Piece")


class Left(BaseException):
    """Nobody waits for the piece any more. No Exception, as it is nothing that a record should keep."""


@contextmanager
def ahead(make: Callable[[Callable[[], None]], Iterator[Piece]]) -> Iterator[Iterator[Piece]]:
    """Yield the pieces that `make` makes, in a thread of its own with this context, never more than one ahead.

    `make` is called with what it should call wherever it may end: that raises Left once the body has been left. What making a
    piece raises is raised where the piece is asked for.
    """
    left = threading.Event()

    def heed() -> None:
        if left.is_set():
            raise Left

    context, pieces, none = contextvars.copy_context(), make(heed), object()

    def one() -> Piece | object:
        return context.run(next, pieces, none)

    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as maker:

        def in_turn() -> Iterator[Piece]:
            coming = maker.submit(one)
            while (piece := coming.result()) is not none:
                coming = maker.submit(one)
                yield piece  # type: ignore[misc] # It is none of `none`.

        try:
            yield in_turn()
        finally:
            left.set()
