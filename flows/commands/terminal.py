"""What a terminal shows while a run works: bars where there is a screen, lines where there is none."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from tasks import progress

_LINE_EVERY_S = 5.0
INTERRUPTED = 130
"""What a command ends with that was stopped, as shells have it for Ctrl-C."""


@contextmanager
def watched(quiet: bool = False) -> Iterator[None]:
    """Show every stage's progress while the body runs, a flow; Ctrl-C ends that between two steps, and a second one at once.

    A flow that somebody else ended (SIGTERM, Cancel in the UI) ends the command with one line that says so.
    """
    from prefect.exceptions import CancelledRun

    console = Console(stderr=True)
    handler = _handler(console)
    log = logging.getLogger("dst")
    log.addHandler(handler)
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    log.propagate = False
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    try:
        if not console.is_terminal:
            with _ctrl_c(), progress.listened(_lines(log)):
                yield
            return
        with (
            _ctrl_c(),
            Progress(
                SpinnerColumn(),
                TextColumn("{task.fields[stage]:<8} {task.fields[class_name]:<12}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[to_go]}"),
                console=console,
                transient=True,
            ) as bars,
            progress.listened(_bars(bars)),
        ):
            yield
    except CancelledRun as error:
        print(f"dst: {error}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        # A command that makes several classes watches once for each: every line is to be said once.
        log.removeHandler(handler)


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Raise KeyboardInterrupt for the first Ctrl-C, where the body says so or its flow has ended for it; a second ends all."""
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            os.write(2, b"dst: stopped at once; start the same command again and it goes on where it was\n")
            os._exit(INTERRUPTED)
        pressed = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, press)
    try:
        yield
    except Exception:
        # Prefect has words of its own for a flow that was stopped.
        if not pressed:
            raise
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def _handler(console: Console) -> logging.Handler:
    """Return what prints the log: on a screen as wide as that, in a file or a pipe a line a record, however long."""
    if console.is_terminal:
        return RichHandler(
            console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S", omit_repeated_times=False
        )
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    return handler


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes a count and shows it: on a screen all the time, elsewhere a line every few seconds."""
    console = Console(stderr=True)
    began = last = time.monotonic()

    def tell(count: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > (0.2 if console.is_terminal else _LINE_EVERY_S):
            last = now
            line = f"{count} {what}, {now - began:.0f} s"
            console.print(line, end="\r" if console.is_terminal else "\n", highlight=False)

    yield tell
    if console.is_terminal:
        console.print(" " * 60, end="\r")


def print_rows(rows: Sequence[Mapping[str, Any]], title: str | None = None) -> None:
    """Print rows with the same names as a table; nothing for none. Whole where the output is no screen."""
    if not rows:
        return
    table = Table(*rows[0], title=title, title_justify="left", title_style="bold", box=None, header_style="bold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 240, markup=False, highlight=False).print(table)


def _bars(bars: Progress) -> progress.Listener:
    shown: dict[int, TaskID] = {}

    def show(bar: progress.Bar) -> None:
        if bar.finished:
            if id(bar) in shown:
                bars.remove_task(shown.pop(id(bar)))
            return
        to_go = f"{bar.seconds_to_go:.0f} s to go" if bar.seconds_to_go else ""
        if id(bar) not in shown:
            shown[id(bar)] = bars.add_task("", stage=bar.stage, class_name=bar.class_name, to_go=to_go, total=bar.total)
        bars.update(shown[id(bar)], completed=bar.done, to_go=f"{bar.under_way}  {to_go}".strip())

    return show


def _lines(log: logging.Logger) -> progress.Listener:
    last: dict[int, float] = {}

    def show(bar: progress.Bar) -> None:
        now = time.monotonic()
        if bar.finished:
            last.pop(id(bar), None)
        elif now - last.setdefault(id(bar), now) > _LINE_EVERY_S:
            last[id(bar)] = now
            to_go = f"  {bar.seconds_to_go:.0f} s to go" if bar.seconds_to_go else ""
            log.info("%-7s %s  %s%s", bar.stage, bar.class_name, bar.in_words, to_go)

    return show
