"""What no run or release refers to, and taking it away.

Enters: a catalog and its store. Leaves: a Plan that names every artifact without a reference and, when asked, a store without
them. Referred to is what a member of any cohort, past or present, a release or a registered CAD model names, in the catalog or in
the store's journal, and everything those were made from. Three things keep the rest safe: what is younger than a limit stays,
what a running run could be using stays, and removal holds the catalog's write lock and stops when anything began or ended.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storage.artifacts import ArtifactError, ArtifactStore
from storage.catalog import journal, tables
from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogError
from storage.catalog.query import pieces
from storage.catalog.writing import STAGES

_AT_ONCE = 200
_TAKEN_AWAY = ".pruned"
_DAMAGED = ".damaged"
_ROWS = (
    (tables.artifacts, "key"), (tables.views, "render_key"), (tables.edges, "edge_key"), (tables.captions, "caption_key"),
    (tables.images, "image_key"), (tables.verdicts, "verdict_key"), (tables.filters, "verdict_key"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Unreferenced:
    """An artifact that nothing refers to, or one that was set aside as damaged."""

    stage: str
    """Its stage."""
    key: str
    """Its key; empty for one that was set aside."""
    folder: Path
    """Where it lies."""
    bytes: int
    """What its files take."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would go, and what stays although nothing refers to it."""

    unreferenced: tuple[Unreferenced, ...]
    """What goes."""
    young: int
    """Artifacts that stay because they are younger than the limit."""
    in_use: int
    """Artifacts that stay because a running run of their class may use them."""
    state: tuple[Any, ...]
    """Runs, releases and registrations when this was found: a removal stops when they changed."""

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.unreferenced)


class Changed(CatalogError):
    """A run, a release or a registration began or ended since the plan was made."""


def plan(catalog: Catalog, store: ArtifactStore, older_than_s: float) -> Plan:
    """Find what nothing refers to. Raises CatalogError where the catalog is missing or knows less than the store's journal."""
    # Before anything is written: opening a catalog that is not there to write would make an empty one.
    catalog.database.require_schema()
    catalog.bury_the_dead()
    with catalog.database.reading() as connection:
        state = _state(connection)
    refer = _referred(catalog, store)
    classes = {row["class_name"] for row in catalog.runs() if row["status"] == "running"}
    found: list[Unreferenced] = []
    young = in_use = 0
    born_before = time.time() - older_than_s
    for stage in STAGES:
        for folder in _folders(store, stage):
            if _short(folder.name) in refer[stage]:
                continue
            if folder.stat().st_mtime > born_before:
                young += 1
            elif classes and _class_of(store, stage, folder.name) in {*classes, None}:
                in_use += 1
            else:
                found.append(Unreferenced(stage=stage, key=folder.name, folder=folder, bytes=_size(folder)))
    for folder in sorted((store.root / _DAMAGED).glob("*")):
        if folder.stat().st_mtime > born_before:
            young += 1
        else:
            found.append(Unreferenced(stage="set aside", key="", folder=folder, bytes=_size(folder)))
    return Plan(unreferenced=tuple(found), young=young, in_use=in_use, state=state)


def remove(catalog: Catalog, store: ArtifactStore, plan: Plan, tell: Callable[[int], None] = lambda count: None) -> None:
    """Take away what a plan names, artifacts and rows alike. Raises Changed, with what was not yet taken away untouched."""
    bin_ = store.root / _TAKEN_AWAY
    bin_.mkdir(parents=True, exist_ok=True)
    try:
        for start in range(0, len(plan.unreferenced), _AT_ONCE):
            batch = plan.unreferenced[start : start + _AT_ONCE]
            keys = [item.key for item in batch if item.key]
            # Under the write lock no run can begin: a run plans, and looks what is there, after it has written its row.
            with catalog.database.writing() as connection:
                if _state(connection) != plan.state:
                    raise Changed(
                        f"something began or ended meanwhile: {start} of {len(plan.unreferenced)} were removed; start again"
                    )
                for table, name in _ROWS:
                    connection.execute(sa.delete(table).where(table.c[name].in_(keys)))
                for item in batch:
                    item.folder.rename(bin_ / f"{item.stage.replace(' ', '-')}-{item.folder.name}-{time.time_ns()}")
            for folder in bin_.iterdir():
                shutil.rmtree(folder)
            tell(start + len(batch))
    finally:
        if plan.unreferenced:
            store.renew_generation()
        shutil.rmtree(bin_, ignore_errors=True)


def _state(connection: sa.Connection) -> tuple[Any, ...]:
    runs, releases, models = tables.runs.c, tables.releases.c, tables.cad_models.c
    asked = (
        sa.select(sa.func.count(), sa.func.max(runs.started_at), sa.func.max(runs.finished_at)).select_from(tables.runs),
        sa.select(sa.func.count(), sa.func.max(releases.created_at)).select_from(tables.releases),
        sa.select(sa.func.count(), sa.func.max(models.added_at)).select_from(tables.cad_models),
    )
    return tuple(value for statement in asked for value in connection.execute(statement).one())


def _referred(catalog: Catalog, store: ArtifactStore) -> Mapping[str, set[bytes]]:
    """Return stage -> keys that something refers to, directly or through what was made from them."""
    refer: dict[str, set[bytes]] = {stage: set() for stage in STAGES}

    def add(row: Mapping[str, Any]) -> None:
        for stage in STAGES:
            if key := row.get(f"{stage}_key"):
                refer[stage].add(_short(key))

    names = ", ".join(f"{stage}_key" for stage in STAGES)
    for sql in (
        f"SELECT {names} FROM members",
        "SELECT image_key, render_key, verdict_key FROM release_samples",
        "SELECT cad_key FROM cad_models",
    ):
        for columns, rows in pieces(catalog.database, sql):
            for row in rows:
                add(dict(zip(columns, row, strict=True)))
    known = {row["run_id"] for row in catalog.runs()}
    for stage, entries in ((journal.RUN, journal.members_of), (journal.RELEASE, journal.released)):
        for artifact in store.records(stage):
            row = artifact.record.values["row"]
            if stage == journal.RUN and row["run_id"] not in known:
                raise CatalogError(
                    f"the store knows run {row['run_id']}, the catalog does not: nothing is removed by a catalog that has lost "
                    "rows; first: dst catalog rebuild"
                )
            for entry in entries(artifact.record):
                add(entry)
    for stage in reversed(STAGES):
        _climb(catalog, store, stage, refer)
    return refer


def _climb(catalog: Catalog, store: ArtifactStore, stage: str, refer: dict[str, set[bytes]]) -> None:
    """Add what the referred artifacts of a stage were made from."""
    waiting = set(refer[stage])
    for artifact in _inputs(catalog, store, stage, waiting):
        for name, value in artifact.items():
            above = "image" if name == "images" else name
            if above in refer:
                refer[above].update(_short(key) for key in (value if isinstance(value, list) else [value]) if key)


def _inputs(catalog: Catalog, store: ArtifactStore, stage: str, waiting: set[bytes]) -> Iterator[dict[str, Any]]:
    for _, rows in pieces(catalog.database, f"SELECT key, inputs FROM artifacts WHERE stage = '{stage}'"):
        for key, inputs in rows:
            if _short(key) in waiting:
                waiting.discard(_short(key))
                yield json.loads(inputs) if isinstance(inputs, str) else inputs
    for key in sorted(waiting):
        # The catalog has lost its row: the record says it as well.
        try:
            yield store.get(stage, key.hex()).record.inputs
        except ArtifactError:
            continue


def _class_of(store: ArtifactStore, stage: str, key: str) -> str | None:
    """Return the class that an artifact was made for; None where it does not say, which may be any."""
    try:
        inputs = store.get(stage, key).record.inputs
    except ArtifactError:
        return None
    if stage == "edge":
        return _class_of(store, "render", inputs["render"])
    name: str | None = inputs.get("class_name")
    return name


def _folders(store: ArtifactStore, stage: str) -> Iterator[Path]:
    for group in sorted((store.root / stage).glob("??")):
        yield from sorted(group.glob("*"))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _short(key: str) -> bytes:
    try:
        return bytes.fromhex(key)
    except ValueError:
        return key.encode()
