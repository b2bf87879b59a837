"""`dst cad import`: a whole collection into the catalog, with progress, and told what became of it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from flows import collected
from flows.commands import terminal
from flows.prefect_env import server
from storage.cad.collections.entry import BadCollection
from storage.cad.collections.published import Listed
from storage.settings import Settings
from tasks import events
from tasks.intake import collections
from tasks.intake.model import absolute
from tasks.plan.place import Place

_SHOWN = 10
"""Lines of a kind that a terminal is spared more of; files and the catalog have them all."""


def bring_in(
    settings: Settings,
    collection: str,
    path: Path,
    *,
    classes: list[str],
    cad_list: Path | None,
    limit: int | None,
    strength: int,
    download: bool,
    again: bool,
    dry_run: bool,
) -> None:
    """Import a collection and print what became of it; exit code 1 when there is no CAD model of it afterwards.

    Lists, classes and folders are checked as a whole before the first file is opened. Raises BadCollection.
    """
    root = absolute(path)
    if limit is not None and limit < 1:
        raise BadCollection(f"--limit is {limit}; at least one CAD model of each class has to be taken")
    if download:
        rows = None if cad_list is None else collected.listed(cad_list, collection, root, strength)
        _fetch(settings, collection, root, rows, classes, limit)
    wanted, missing = collected.wanted(collection, root, classes, cad_list, limit, strength)
    if dry_run:
        _explain(wanted, missing)
        return
    with terminal.watched():
        report = collections.bring_in(Place.of(settings), collection, root, wanted, again)
    collected.note(settings, collection, root, classes, cad_list, limit, strength)
    if report.counts["added"] or report.counts["changed"]:
        events.collection_imported(settings, server(settings), collection)
    _tell(settings, collection, report)
    missing = collections.still_missing(Place.of(settings).catalog, missing)
    if missing:
        listed = collections.write_missing(settings.root / "imports" / f"{collection}-missing.csv", missing)
        _few([f"{row.class_name}/{row.model} (line {row.line})" for row in missing], "missing")
        print(f"missing   {len(missing)} models of the list are in no collection imported so far; all of them: {listed}")
    if not any(report.counts[status] for status in ("added", "changed", "known", "remembered", "duplicate")):
        sys.exit(1)


def _fetch(
    settings: Settings, collection: str, root: Path, rows: list[Listed] | None, classes: list[str], limit: int | None
) -> None:
    from storage.cad.collections.download import download

    if collection != "objaverse" or rows is None:
        raise BadCollection("--download fetches a list's models: dst cad import objaverse PATH --list FILE.csv --download")
    names: Counter[str] = Counter()
    uids = []
    for row in rows:
        names[row.class_name] += 1
        if (not classes or row.class_name in classes) and (limit is None or names[row.class_name] <= limit):
            uids.append(row.model)
    root.mkdir(parents=True, exist_ok=True)
    elsewhere = download(root, uids, settings.renderer_workers)
    if elsewhere:
        print(f"download  {len(elsewhere)} of {len(uids)} models of the list are not Objaverse's")


def _explain(wanted: list[collections.Candidate], missing: list[collections.NotThere]) -> None:
    there, gone = Counter(model.class_name for model in wanted), Counter(row.class_name for row in missing)
    for name in sorted(there | gone):
        print(f"{name:<32}{there[name]:>7} here{f'  {gone[name]} missing' if gone[name] else ''}")
    print(f"{len(wanted)} CAD models of {len(there)} classes would be read, less those that were read before")


def _tell(settings: Settings, collection: str, report: collections.ImportReport) -> None:
    _few([f"{path}  {why}" for path, why in report.refused], "refused")
    _few([f"{path}  the same bytes as {other}" for path, other in report.duplicates], "duplicate")
    order = ("added", "changed", "known", "remembered", "duplicate", "rejected", "quarantined")
    counts = ", ".join(f"{report.counts[status]} {status}" for status in order if report.counts[status])
    print(f"{collection}: {counts or 'nothing to read'}")
    if report.reasons:
        print(f"refused for: {', '.join(f'{reason} {count}' for reason, count in report.reasons.most_common())}")
        print("see: dst cad list --rejected")


def _few(lines: list[str], word: str) -> None:
    for line in lines[:_SHOWN]:
        print(f"{word:<10}{line}")
    if len(lines) > _SHOWN:
        print(f"{word:<10}and {len(lines) - _SHOWN} more")
