"""`dst models list | fetch | check`: weights of generators, what is here, what would be downloaded, and getting it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import cyclopts
from cyclopts import Parameter

app = cyclopts.App(name="models", help="Weights of generators: what is here, what would be downloaded, and getting it.")
_LINE_EVERY_S = 5.0


@app.command(name="list")
def list_() -> None:
    """Show each recipe's generator: what is here, download, licence, GPU memory, work. No network is asked.

    Example: dst models list
    """
    from flows.commands.terminal import print_rows
    from flows.offers import rows

    print_rows(rows())
    print("to get one: dst models fetch RECIPE   what the columns mean and how to choose: docs/generators.md")


@app.command
def fetch(
    names: Annotated[list[str], Parameter(name="NAME", help="Recipes, or hub ids such as owner/name or owner/name@commit.")],
    /,
    *,
    dry_run: Annotated[bool, Parameter(help="Only say what would be downloaded, as the hub has it.", negative="")] = False,
) -> None:
    """Download weights into the cache of the hub's client; broken off, the same command goes on. Runs then need no network.

    Example: dst models fetch sdxl-canny
    """
    from flows.estimate import disk
    from flows.offers import models_of
    from models.image import hub

    found = [hub.published(model, commit) for model, commit in models_of(names)]
    for what in found:
        left = sum(file.size for file in what.missing)
        here = "all of it is here" if not left else f"{disk(left)} of it to download"
        print(f"{what.model} at {what.commit[:12]}: {disk(what.size)}, {here}; licence: {what.licence}")
    if dry_run:
        return
    for what in found:
        with _telling(what.model, what.size) as tell:
            hub.fetch(what, tell)
    print(f"{', '.join(names)}: here, every file checked by its digest; runs need no network now")


@app.command
def check(
    names: Annotated[list[str] | None, Parameter(name="NAME", help="As for fetch; default: all recipes.")] = None, /
) -> None:
    """Read every file of weights that is here and compare its digest. Exit code 1 if one is damaged. No network is asked.

    Example: dst models check
    """
    from flows.estimate import disk
    from flows.offers import models_of, recipes_from_hub
    from models.image import hub, weights

    damaged = False
    for model, commit in models_of(names or recipes_from_hub()):
        pinned = weights.revision(model, commit)
        files = hub.here(model, pinned)
        wrong = [path for path in files if hub.sound(path) is False]
        damaged |= bool(wrong)
        for path in wrong:
            print(f"damaged  {path}; to load it again: dst models fetch {model}{'' if commit == weights.MAIN else '@' + commit}")
        if not wrong:
            state = "sound  " if weights.cached(model, pinned) else "partly " if files else "away   "
            print(f"{state}  {model}" + (f"  {disk(sum(path.stat().st_size for path in files))}" if files else ""))
    sys.exit(1 if damaged else 0)


@contextmanager
def _telling(model: str, size: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes the bytes of a model that are here and shows them, where there is no screen now and then."""
    from rich.console import Console

    from flows.estimate import disk, duration

    console = Console(stderr=True)
    began, first, last = time.monotonic(), -1, 0.0

    def tell(done: int) -> None:
        nonlocal first, last
        now = time.monotonic()
        first = done if first < 0 else first
        if done < size and now - last < (0.2 if console.is_terminal else _LINE_EVERY_S):
            return
        last, speed = now, (done - first) / max(now - began, 1e-3)
        to_go = f", {disk(speed)} a second, {duration((size - done) / speed)} to go" if speed > 0 and done < size else ""
        line = f"{model}: {disk(done)} of {disk(size)}{to_go}"
        console.print(f"{line:<100}", end="\r" if console.is_terminal and done < size else "\n", highlight=False, soft_wrap=True)

    yield tell
