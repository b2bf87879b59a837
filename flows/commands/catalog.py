"""`dst catalog rebuild | upgrade | verify | copy` and `dst prune`: keeping catalog and store in order."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

app = cyclopts.App(name="catalog", help="Restore the catalog from the store, compare the two, copy it for big questions.")


@app.command
def rebuild() -> None:
    """Restore the catalog from the store: artifacts, CAD models, runs, cohorts, releases. Readers see the old rows until then.

    Example: dst catalog rebuild
    """
    import time

    from flows.commands.terminal import counting
    from storage.catalog.catalog import Catalog
    from storage.catalog.restore import everything
    from storage.settings import Settings

    settings = Settings()
    catalog = Catalog(settings.catalog, settings.store)
    left_out: list[str] = []
    started = time.monotonic()
    with counting("artifacts read") as tell:
        rows = catalog.rebuild(everything(settings.store, left_out.append, tell))
    for line in left_out:
        print(f"left out  {line}", file=sys.stderr)
    print(f"{rows} rows from {settings.store.where} in {time.monotonic() - started:.0f} s: {catalog.database}")
    if left_out:
        raise ValueError(f"{len(left_out)} artifacts could not be read and were left out; run their classes again: dst status")


@app.command
def upgrade() -> None:
    """Bring the catalog to this version's schema, or make an empty one: once, before workers of this version start.

    Example: dst catalog upgrade
    """
    from storage.catalog.catalog import Catalog
    from storage.settings import Settings

    settings = Settings()
    catalog = Catalog(settings.catalog, settings.store)
    before = catalog.database.schema
    done = catalog.migrate()
    print(f"{catalog.database}: schema {before or 'none'} -> {catalog.database.schema}{'' if done else ', nothing to do'}")


@app.command
def verify(
    *, quick: Annotated[bool, Parameter(help="Compare the sizes of files, not their bytes.", negative="")] = False
) -> None:
    """Compare catalog and store and name every difference; exit code 1 when there are any.

    Example: dst catalog verify --quick
    """
    from flows.commands.terminal import counting
    from storage.catalog.catalog import Catalog
    from storage.catalog.verify import verify as differences
    from storage.settings import Settings

    settings = Settings()
    counts: dict[str, int] = {}
    left: list[str] = []
    with counting("artifacts compared") as tell:
        catalog = Catalog(settings.catalog)
        for difference in differences(catalog, settings.store, digests=not quick, tell=tell, unwritten=left.append):
            counts[difference.kind] = counts.get(difference.kind, 0) + 1
            print(difference)
    if left:
        print(f"{len(left)} artifacts are of runs that go on or were broken off, and have no row yet")
    if counts:
        said = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        print(f"catalog and store differ: {said}; rows are mended by: dst catalog rebuild, files by running the class again")
        sys.exit(1)
    print("catalog and store say the same")


@app.command
def copy(
    *, out: Annotated[Path | None, Parameter(help="Folder for the Parquet files; default: copy in the home folder.")] = None
) -> None:
    """Copy the catalog to Parquet files, for questions about everything at once: dst sql --copy, DuckDB, pandas.

    Example: dst catalog copy
    """
    from flows.commands.terminal import counting
    from storage.catalog.catalog import Catalog
    from storage.catalog.copy import write
    from storage.settings import Settings

    settings = Settings()
    folder = out or settings.root / "copy"
    with counting("rows copied") as tell:
        made = write(Catalog(settings.catalog).database, folder, lambda name, rows: tell(rows))
    print(f"{sum(made.rows.values())} rows, {made.rows['samples']} samples, as of {made.made_at}: {folder}")


def prune(
    *,
    dry_run: Annotated[bool, Parameter(help="Only say what would go.", negative="")] = False,
    older_than: Annotated[float, Parameter(help="Leave what is younger than so many hours.")] = 24.0,
) -> None:
    """Remove from the store what no run, release or registered CAD model refers to. Running runs keep everything of their class.

    Example: dst prune --dry-run
    """
    from collections import Counter

    from flows.commands.terminal import counting
    from storage.catalog import prune as pruning
    from storage.catalog.catalog import Catalog
    from storage.settings import Settings

    if older_than < 0:
        raise ValueError(f"--older-than is {older_than:g} hours; it must be 0 or more")
    settings = Settings()
    catalog = Catalog(settings.catalog, settings.store)
    found = pruning.plan(catalog, settings.store, older_than * 3600)
    if not dry_run:
        with counting("removed") as tell:
            pruning.remove(catalog, settings.store, found, tell)
        settings.store.sweep()
    counts, sizes = Counter[str](), Counter[str]()
    for item in found.unreferenced:
        counts[item.stage] += 1
        sizes[item.stage] += item.bytes
    for stage, count in counts.items():
        print(f"{stage:<10}{count:>8}  {_megabytes(sizes[stage])}")
    said = "would be removed" if dry_run else "removed"
    print(
        f"{len(found.unreferenced)} artifacts, {_megabytes(found.bytes)} {said}; {_kept(found.young, found.in_use, older_than)}"
    )


def _kept(young: int, in_use: int, hours: float) -> str:
    return f"{young} more are younger than {hours:g} h, {in_use} more may be in use by running runs"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
