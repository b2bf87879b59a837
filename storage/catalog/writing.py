"""Writing rows, inside somebody's transaction: every function here takes a connection and leaves the commit to its caller.

Enters: records, members, rows. Leaves: inserted or replaced rows, in an order that makes writers queue, never deadlock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from storage.artifacts import Artifact, Record
from storage.catalog import journal, liveness, tables
from storage.catalog.index import Indexer, Row, Rows, batches

STAGES = ("cad", "render", "edge", "caption", "image", "verdict")
"""In the order in which a sample goes through them."""

BATCH = 20_000
"""Records turned into rows at once: bounds memory, not the transaction."""

_DERIVED = (
    tables.verdicts, tables.filters, tables.images, tables.captions, tables.edges, tables.views, tables.artifacts, tables.specs,
)  # fmt: skip
"""Tables whose every row comes from the record of an artifact."""


def rebuild(connection: sa.Connection, items: Iterable[Record | Artifact]) -> int:
    """Replace the rows that come from artifacts, set registrations and runs back to the journal; return how many were written."""
    for table in _DERIVED:
        connection.execute(sa.delete(table))
    return index(connection, items, replay_known=True)


def index(connection: sa.Connection, items: Iterable[Record | Artifact], replay_known: bool = False) -> int:
    indexer = Indexer()
    entries: list[Record] = []
    written = 0
    for batch in batches(items, BATCH):
        rows = Rows()
        for item in batch:
            record = item.record if isinstance(item, Artifact) else item
            if record.stage in journal.JOURNAL:
                entries.append(record)
            else:
                indexer.add(rows, item)
        for table in Rows.ORDER:
            upsert(connection, table, rows.of(table))
        written += len(rows)
    for record in sorted(entries, key=lambda entry: (journal.JOURNAL.index(entry.stage), journal.moment(entry))):
        written += _replay(connection, record, replay_known)
    _fill_in_cad_facts(connection, indexer.cad_facts)
    return written


def _replay(connection: sa.Connection, record: Record, known_too: bool) -> int:
    return _REPLAYS[record.stage](connection, record, known_too)


def _replay_registration(connection: sa.Connection, record: Record, known_too: bool) -> int:
    row, model = record.values["row"], tables.cad_models
    same = sa.and_(model.c.class_name == row["class_name"], model.c.cad_id == row["cad_id"])
    newest = connection.execute(sa.select(model.c.added_at).where(same)).scalar()
    if not known_too and newest is not None and newest >= row["added_at"]:
        return 0
    ensure_class(connection, row["class_name"], row["added_at"])
    upsert(connection, model, [row])
    return 1


def _replay_quarantine(connection: sa.Connection, record: Record, known_too: bool) -> int:
    row, refused = record.values["row"], tables.quarantine
    if row is not None:
        upsert(connection, refused, [row])
        return 1
    connection.execute(sa.delete(refused).where(refused.c.path == record.inputs["path"]))
    return 0


def _replay_run(connection: sa.Connection, record: Record, known_too: bool) -> int:
    row = {**_RUN_BEFORE_0003, **record.values["row"]}
    known = connection.execute(sa.select(tables.runs.c.finished_at).where(tables.runs.c.run_id == row["run_id"])).scalar()
    if known is not None and not known_too:
        return 0
    ensure_class(connection, row["class_name"], row["started_at"])
    upsert(connection, tables.runs, [row])
    members = journal.members_of(record)
    if not members:
        # A preview, or a run that failed before it had a cohort: the one that was there stayed.
        return 1
    return 1 + set_cohort(connection, row["class_name"], row["recipe"], row["run_id"], members)


def _replay_release(connection: sa.Connection, record: Record, known_too: bool) -> int:
    samples = journal.released(record)
    upsert(connection, tables.releases, [record.values["row"]])
    upsert(connection, tables.release_samples, samples)
    return 1 + len(samples)


def _replay_foreign(connection: sa.Connection, record: Record, known_too: bool) -> int:
    rows = journal.foreign_rows(record)
    upsert(connection, tables.metadata.tables[record.inputs["table"]], rows)
    return len(rows)


_REPLAYS = {
    journal.REGISTRATION: _replay_registration,
    journal.QUARANTINE: _replay_quarantine,
    journal.RUN: _replay_run,
    journal.RELEASE: _replay_release,
    journal.FOREIGN: _replay_foreign,
}

_RUN_BEFORE_0003 = {"heartbeat_at": None, "parent_run": None, "kind": "generate"}
"""What an entry of older code does not say."""


def set_cohort(connection: sa.Connection, class_name: str, recipe: str, run_id: str, members: Iterable[Mapping[str, Any]]) -> int:
    table = tables.members
    names = [column.name for column in table.columns]
    rows: list[Row] = []
    for member in members:
        row = {name: member.get(name) for name in names}
        if row["status"] == "failed" and row["stage"] in STAGES:
            row.update({f"{later}_key": None for later in STAGES[STAGES.index(row["stage"]) + 1 :]})
        keys = (row["image_key"], row["caption_key"], row["edge_key"], row["render_key"], row["cad_key"])
        row.update(
            class_name=class_name,
            recipe=recipe,
            run_id=run_id,
            in_cohort=1,
            member_key=row["image_key"] or next(filter(None, keys), ""),
            first_run_id=row["first_run_id"] or run_id,
        )
        rows.append(row)
    rows.sort(key=lambda row: (row["sample_id"], row["member_key"]))
    of_cohort = sa.and_(table.c.class_name == class_name, table.c.recipe == recipe)
    connection.execute(sa.update(table).where(of_cohort).values(in_cohort=0))
    upsert(connection, table, rows, keep=("first_run_id",))
    # A sample that had failed before it had an image has nothing that could stay behind.
    connection.execute(sa.delete(table).where(of_cohort, table.c.in_cohort == 0, table.c.image_key.is_(None)))
    return len(rows)


def _fill_in_cad_facts(connection: sa.Connection, facts: Sequence[Row]) -> None:
    if not facts:
        return
    table = tables.cad_models
    names = ("spec_key", "faces", "vertices", "extents", "watertight", "textured", "facts")
    connection.execute(
        sa.update(table)
        .where(table.c.cad_key == sa.bindparam("of_cad_key"))
        .values({name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in names}),
        [{"of_cad_key": row["cad_key"], **{f"new_{name}": row[name] for name in names}} for row in facts],
    )


def fill_in_what_was_said(connection: sa.Connection, row: Row) -> None:
    """Keep of a CAD model's row what an earlier registration said and this one leaves open."""
    table = tables.cad_models
    names = ("collection", "uid", "symmetry", "symmetry_origin", "camera", "alignment")
    before = (
        connection.execute(
            sa.select(*(table.c[name] for name in names)).where(
                table.c.class_name == row["class_name"], table.c.cad_id == row["cad_id"]
            )
        )
        .mappings()
        .one_or_none()
    )
    if before is not None:
        row.update({name: before[name] for name in names if row[name] is None})


def ensure_class(connection: sa.Connection, class_name: str, created_at: str | None = None) -> None:
    row = {"class_name": class_name, "created_at": created_at or journal.now()}
    upsert(connection, tables.classes, [row], keep=("created_at",))


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row], keep: Sequence[str] = ()) -> None:
    """Insert rows or, where their key is there, replace them (all but the columns of `keep`)."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    statement = insert(table)
    key = [column.name for column in table.primary_key]
    changing = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in (*key, *keep)}
    connection.execute(
        statement.on_conflict_do_update(index_elements=key, set_=changing)
        if changing
        else statement.on_conflict_do_nothing(index_elements=key),
        list(rows),
    )


def bury_the_dead(connection: sa.Connection) -> list[Row]:
    """Mark running runs whose process is gone as crashed; return their rows."""
    table = tables.runs
    running = connection.execute(sa.select(table).where(table.c.status == "running")).mappings()
    buried: list[Row] = []
    for row in running.all():
        if (reason := liveness.death(dict(row))) is not None:
            changes = {"status": "crashed", "reason": reason, "finished_at": journal.now()}
            connection.execute(sa.update(table).where(table.c.run_id == row["run_id"]).values(changes))
            buried.append({**row, **changes})
    return buried


def going(connection: sa.Connection, run: Row) -> Row | None:
    """Return another running run of the same class, recipe and kind, or None."""
    table = tables.runs
    same = [table.c[name] == run[name] for name in ("class_name", "recipe", "kind")]
    found = sa.select(table).where(table.c.status == "running", table.c.run_id != run["run_id"], *same)
    row = connection.execute(found.order_by(table.c.started_at)).mappings().first()
    return dict(row) if row is not None else None


def bit(value: Any) -> int | None:
    return None if value is None else int(bool(value))
