"""Questions to the catalog from a terminal: sql, report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from storage.catalog.catalog import Catalog
from storage.catalog.query import unheard_of
from storage.settings import Settings


def ask(settings: Settings, query: str, format: str, out: Path | None, copy: bool = False) -> None:
    """Print the answer to one read-only SQL statement. Raises ValueError with one clear line."""
    if format == "parquet" and out is None:
        raise ValueError("parquet is a file format: say where to write it with --out FILE.parquet")
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise ValueError(
            f"{out} cannot be written: " + ("it is a folder" if out.is_dir() else f"there is no folder {out.parent}")
        )
    catalog = Catalog(settings.catalog, settings.store)
    frame = _of_copy(settings, query) if copy else catalog.query(query)
    for line in unheard_of(catalog.database, query) if catalog.exists else []:
        print(line, file=sys.stderr)
    if format in ("json", "parquet"):
        _check_names(frame)
    if format == "parquet":
        frame.to_parquet(out, index=False)
        return
    if format == "table" and out is None:
        _print_table(frame)
        return
    text: str
    if format == "csv":
        text = frame.to_csv(index=False)
    elif format == "json":
        text = json.dumps(_records(frame), indent=1, ensure_ascii=False) + "\n"
    else:
        text = frame.to_string(index=False) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text)


def _of_copy(settings: Settings, query: str) -> Any:
    from storage.catalog import copy

    folder = settings.root / "copy"
    said = copy.about(folder)
    frame = copy.query(folder, query)
    print(f"from the copy of {said.made_at[:19]}Z, {said.age} old; renew it with: dst catalog copy", file=sys.stderr)
    return frame


def report(settings: Settings, run_id: str | None) -> None:
    """Write the page of a run (the latest, or the one whose id starts so) and print its path."""
    from tasks.plan.failures import GENERATE
    from tasks.plan.pages import write_report
    from tasks.plan.place import Place

    runs = Catalog(settings.catalog, settings.store).runs(kind=GENERATE)
    matching = [run["run_id"] for run in runs if run["run_id"].startswith(run_id or "")]
    if not matching:
        raise ValueError(f'no run "{run_id}"; see: dst status' if run_id else "nothing was run yet; try: dst demo")
    print(write_report(Place.of(settings), matching[0]))


def _records(frame: Any) -> list[dict[str, Any]]:
    """Return rows as dicts of JSON types, every number with all its digits."""
    return list(frame.astype(object).where(frame.notna(), None).to_dict(orient="records"))


def _check_names(frame: Any) -> None:
    """Raise ValueError where two columns have one name: these formats would lose one of them."""
    names = [str(name) for name in frame.columns]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f'two columns are called "{twice[0]}", and this format takes each name once: say ... AS another_name')


_NARROWEST = 8
"""Characters a column needs to be read; a table with less room for each is printed row by row instead."""


def _print_table(frame: Any) -> None:
    console = Console(width=None if sys.stdout.isatty() else 200)
    names = [str(name) for name in frame.columns]
    rows = [
        ["" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value) for value in row]
        for row in frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    ]
    if len(names) * _NARROWEST > console.width:
        _print_row_by_row(names, rows)
        return
    table = Table(*names)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _print_row_by_row(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a value a line: `select *` of a wide view has more columns than any terminal has room for."""
    width = max(map(len, names))
    for number, row in enumerate(rows, 1):
        print(f"row {number}")
        for name, value in zip(names, row, strict=True):
            print(f"  {name:<{width}}  {value}".rstrip())
    if not rows:
        print(f"no rows; columns: {', '.join(names)}")
