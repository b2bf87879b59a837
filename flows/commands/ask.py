"""Questions to the catalog from a terminal: sql, report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from storage.catalog.catalog import Catalog
from storage.settings import Settings

_REPORTED = "select run_id from runs where kind = 'generate' order by started_at desc"


def ask(settings: Settings, query: str, format: str, out: Path | None, copy: bool = False) -> None:
    """Print the answer to one read-only SQL statement. Raises ValueError with one clear line."""
    frame = _of_copy(settings, query) if copy else Catalog(settings.catalog, settings.store).query(query)
    if format == "parquet":
        if out is None:
            raise ValueError("parquet is a file format: say where to write it with --out FILE.parquet")
        frame.to_parquet(out, index=False)
        return
    if format == "table" and out is None:
        _print_table(frame)
        return
    texts = {
        "csv": lambda: frame.to_csv(index=False),
        "json": lambda: json.dumps(_records(frame), indent=1, ensure_ascii=False) + "\n",
    }
    text = texts.get(format, lambda: frame.to_string(index=False) + "\n")()
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
    from tasks.page import write_report

    runs = Catalog(settings.catalog, settings.store).query(_REPORTED)["run_id"]
    matching = [run for run in runs if run.startswith(run_id or "")]
    if not matching:
        raise ValueError(f'no run "{run_id}"; see: dst status' if run_id else "nothing was run yet; try: dst demo")
    print(write_report(settings, matching[0]))


def _records(frame: Any) -> list[dict[str, Any]]:
    """Return rows as dicts of JSON types, every number with all its digits."""
    return list(frame.astype(object).where(frame.notna(), None).to_dict(orient="records"))


def _print_table(frame: Any, title: str | None = None) -> None:
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(*(str(name) for name in frame.columns), title=title)
    for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False):
        shown = ("" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value) for value in row)
        table.add_row(*shown)
    console.print(table)
