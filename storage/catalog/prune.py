"""What no run or release refers to, and taking it away.

Enters: a catalog and its store. Leaves: a Plan that names every artifact without a reference and, when asked, a store without
them. Referred to is what a member of any cohort, past or present, a release, a decision or a registered CAD model names, in the
catalog or in the store's journal, and everything those were made from. Three things keep the rest safe: what is younger than a
limit stays, what a running run could be using stays, and removal holds the catalog's write lock and stops when anything began or
ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from storage.artifacts import ArtifactError, ArtifactStore, at
from storage.catalog import before_0004, journal, tables
from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogError
from storage.catalog.query import pieces
from storage.stages import OF_A_SAMPLE, STAGES

_AT_ONCE = 200
_ROWS = (
    (tables.artifacts, "key"), (tables.views, "render_key"), (tables.controls, "control_key"), (tables.captions, "caption_key"),
    (tables.images, "image_key"), (tables.image_controls, "image_key"), (tables.verdicts, "verdict_key"),
    (tables.scores, "verdict_key"), (tables.verdict_scores, "verdict_key"), (tables.filters, "verdict_key"),
)  # fmt: skip
_LOOKED_AT = (*STAGES, before_0004.EDGE)
_MEANT = {"cads": "cad", "controls": "control", before_0004.EDGE: "control", "images": "image", "scores": "score"}
"""What inputs and folders call something -> its stage, where that is another word."""


@dataclass(frozen=True, kw_only=True)
class Unreferenced:
    """An artifact that nothing refers to, or one that was set aside as damaged."""

    stage: str
    """Its stage."""
    key: str
    """Its key; empty for one that was set aside."""
    path: str
    """Where it lies in the store."""
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
    """Runs, releases, registrations and decisions when this was found: a removal stops when they changed."""

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
    for stage in _LOOKED_AT:
        for key in store.keys(stage):
            if _short(key) in refer[_MEANT.get(stage, stage)]:
                continue
            if store.age_s(at(stage, key)) < older_than_s:
                young += 1
            elif classes and _class_of(store, stage, key) in {*classes, None}:
                in_use += 1
            else:
                found.append(_unreferenced(store, stage, key, at(stage, key)))
    for path in store.aside():
        if store.age_s(path) < older_than_s:
            young += 1
        else:
            found.append(_unreferenced(store, "set aside", "", path))
    return Plan(unreferenced=tuple(found), young=young, in_use=in_use, state=state)


def _unreferenced(store: ArtifactStore, stage: str, key: str, path: str) -> Unreferenced:
    return Unreferenced(stage=stage, key=key, path=path, bytes=store.size(path))


def remove(catalog: Catalog, store: ArtifactStore, plan: Plan, tell: Callable[[int], None] = lambda count: None) -> None:
    """Take away what a plan names, artifacts and rows alike. Raises Changed, with what was not yet taken away untouched."""
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
                    store.remove(item.path)
            tell(start + len(batch))
    finally:
        if plan.unreferenced:
            store.renew_generation()


def _state(connection: sa.Connection) -> tuple[Any, ...]:
    runs, releases, models, decisions = tables.runs.c, tables.releases.c, tables.cad_models.c, tables.decisions.c
    asked = (
        sa.select(sa.func.count(), sa.func.max(runs.started_at), sa.func.max(runs.finished_at)).select_from(tables.runs),
        sa.select(sa.func.count(), sa.func.max(releases.created_at)).select_from(tables.releases),
        sa.select(sa.func.count(), sa.func.max(models.added_at)).select_from(tables.cad_models),
        sa.select(sa.func.count(), sa.func.max(decisions.number)).select_from(tables.decisions),
    )
    return tuple(value for statement in asked for value in connection.execute(statement).one())


def _referred(catalog: Catalog, store: ArtifactStore) -> Mapping[str, set[bytes]]:
    """Return stage -> keys that something refers to, directly or through what was made from them."""
    refer: dict[str, set[bytes]] = {stage: set() for stage in STAGES}

    def add(row: Mapping[str, Any]) -> None:
        for stage in STAGES:
            if key := row.get(f"{stage}_key"):
                refer[stage].add(_short(key))
        controls = row.get("controls") or {}
        refer["control"].update(map(_short, _parsed(controls).values()))

    names = ", ".join(f"{stage}_key" for stage in OF_A_SAMPLE)
    for sql in (
        f"SELECT {names}, verdict_key, controls FROM members",
        "SELECT image_key, render_key, verdict_key FROM release_samples",
        "SELECT verdict_key FROM decisions",
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
    for artifact in store.records(journal.DECISION):
        add(artifact.record.values["row"])
    # From the last stage up: what was made from what is added to the stages above before those are looked at.
    for stage in reversed(STAGES):
        for inputs in _inputs(catalog, store, stage, set(refer[stage])):
            for name, value in inputs.items():
                above = refer.get(_MEANT.get(name, name))
                if above is not None:
                    above.update(_short(key) for key in _listed(value) if key)
    return refer


def _listed(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def _inputs(catalog: Catalog, store: ArtifactStore, stage: str, waiting: set[bytes]) -> Iterator[dict[str, Any]]:
    stages = [stage, before_0004.EDGE] if stage == "control" else [stage]
    listed = ", ".join(f"'{name}'" for name in stages)
    for _, rows in pieces(catalog.database, f"SELECT key, inputs FROM artifacts WHERE stage IN ({listed})"):
        for key, inputs in rows:
            if _short(key) in waiting:
                waiting.discard(_short(key))
                yield _parsed(inputs)
    for key in sorted(waiting):
        # The catalog has lost its row: the record says it as well.
        for name in stages:
            try:
                yield store.get(name, key.hex()).record.inputs
            except ArtifactError:
                continue


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _class_of(store: ArtifactStore, stage: str, key: str) -> str | None:
    """Return the class that an artifact was made for; None where it does not say, which may be any."""
    try:
        inputs = store.get(stage, key).record.inputs
    except ArtifactError:
        return None
    if _MEANT.get(stage, stage) == "control":
        return _class_of(store, "render", inputs["render"])
    name: str | None = inputs.get("class_name")
    return name


def _short(key: str) -> bytes:
    try:
        return bytes.fromhex(key)
    except ValueError:
        return key.encode()
