"""`dst reproduce`: samples made again from their records, and what came of it on a terminal."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from flows.compare import TOLERANCE_DB
from flows.prefect_env import prepare
from storage.catalog.catalog import Catalog
from storage.settings import Settings


def reproduce(settings: Settings, sample_ids: Sequence[str], recipe: str | None, into: Path | None, last: str | None) -> bool:
    """Make samples again, compare, and print what came of it; return whether all agree within tolerance."""
    # Before a home is made where there is none.
    Catalog(settings.catalog).database.require_schema()
    prepare(settings)
    from flows.commands.terminal import watched
    from flows.reproduce import reproduce as make_again
    from tasks.plan.place import Place

    with watched():
        made = make_again(Place.of(settings), sample_ids, recipe, into, last)
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    shared = set.intersection(*(set(reproduction.notes) for reproduction in made))
    for reproduction in made:
        history = reproduction.history
        said = {"same": "same bytes at every stage", "close": "not the same bytes", "different": "differs"}
        title = f"[bold]{history.sample_id}[/bold] ({history.recipe['name']})"
        console.print(f"{title}: {said[reproduction.agreement]}", soft_wrap=True)
        failed = [file for file in reproduction.files if file.name == "-"]
        for file in failed if reproduction.agreement == "same" else reproduction.files:
            console.print(f"  {file.stage:<8} {file.name:<16} {file.note}", markup=False, soft_wrap=True)
        for note in reproduction.notes:
            if note not in shared:
                console.print(f"  {note}", markup=False, soft_wrap=True)
    counts = Counter(reproduction.agreement for reproduction in made)
    line = f"{counts['same']} of {len(made)} with the same bytes"
    if counts["close"]:
        line += f", {counts['close']} within {TOLERANCE_DB:.0f} dB"
    if counts["different"]:
        line += f", {counts['different']} beyond {TOLERANCE_DB:.0f} dB or otherwise different"
    console.print(line)
    for note in sorted(shared):
        console.print(f"  {note}", markup=False, soft_wrap=True)
    if into is not None:
        console.print(f"files: {into.absolute() / 'artifacts'}", markup=False, soft_wrap=True)
    return not counts["different"]
