"""`dst scan` in a terminal: look at what is watched, and start Prefect only when something is to be made."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console

from flows.collected import look_again
from flows.prefect_env import own_server, prepare, server
from flows.wanted import CLAIM, Wanted, at_it, wanted
from storage.catalog.catalog import Catalog
from storage.catalog.claims import claimed
from storage.settings import Settings
from tasks.intake.watch import WatchReport, look


def scan(settings: Settings, dry_run: bool) -> bool:
    """Register what is new in the watched folders and make what is pending; say so. Returns whether nothing failed."""
    console = Console(stderr=True)
    started = time.monotonic()
    catalog = Catalog(settings.catalog, settings.store)
    if dry_run:
        seen = look(settings, dry=True)
        for path in seen.new:
            console.print(f"to be read  {path}", markup=False, highlight=False, soft_wrap=True)
        _say_pending(console, wanted(settings, seen) if catalog.exists else [])
        return True
    catalog.migrate()
    with claimed(catalog.database, CLAIM) as claim:
        if not claim.mine:
            console.print(at_it(claim.holder), markup=False, highlight=False)
            return True
        buried = catalog.bury_the_dead()
        for row in buried:
            console.print(f"{row['class_name']}  run {row['run_id'][:8]} crashed: {row['reason']}", markup=False, highlight=False)
        joined = look_again(settings)
        seen = look(settings)
        todo = wanted(settings, seen)
    if joined:
        said = ", ".join(f"{count} {status}" for status, count in sorted(joined.items()))
        console.print(f"collections: {said}", markup=False, highlight=False)
    _say_seen(console, settings, seen)
    _say_pending(console, todo)
    if not todo and not (buried and server(settings)):
        console.print(f"nothing to make ({time.monotonic() - started:.1f} s)", highlight=False)
        return True
    # Where there is nothing to make, the flow still tells a standing server of runs that were killed.
    prepare(settings)
    from flows.commands.terminal import watched
    from flows.scan import scan as scan_flow

    own_server(settings)
    with watched():
        state = scan_flow(return_state=True)
    console.print(f"{'done' if state.is_completed() else 'failed'} in {time.monotonic() - started:.0f} s", highlight=False)
    return bool(state.is_completed())


def _say_seen(console: Console, settings: Settings, seen: WatchReport) -> None:
    watched = ", ".join(str(folder) for folder in settings.watched)
    counts = {
        "unchanged": seen.unchanged,
        "new or changed": len(seen.registered),
        "replaced": len(seen.replaced),
        "gone": len(seen.gone),
        "refused": len(seen.refused),
        "still being written": len(seen.waiting),
    }
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no CAD files"
    console.print(f"{watched}: {said}", markup=False, highlight=False, soft_wrap=True)
    for path, reason in seen.refused.items():
        console.print(f"  refused  {path}: {reason}", markup=False, highlight=False, soft_wrap=True)


def _say_pending(console: Console, todo: Sequence[Wanted]) -> None:
    for want in todo:
        line = f"{want.class_name}  {want.samples} samples, recipe {want.name}: {want.why}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
