"""A home as the code before schema 0004 left it: two classes, three runs, one of them without a judgement, rows in every table.

home_0003.json.gz was written by that code (commit 8fb5ba7), through its own Catalog and its own store. Leaves: the rows in a
catalog of schema 0003, and the records and files in a store.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storage.artifacts import ArtifactStore, Record
from storage.catalog.catalog import Catalog
from storage.catalog.schema import upgrade
from tests.catalog import records

HOME = Path(__file__).parent / "home_0003.json.gz"


def furnish(catalog: Catalog, store: ArtifactStore) -> dict[str, int]:
    """Fill an empty catalog and an empty store; return table -> rows."""
    home = json.loads(gzip.decompress(HOME.read_bytes()))
    for entry in home["records"]:
        verdicts = entry.pop("verdicts.json", None)
        record = Record(**entry)
        files = {name: records.content(record.key, name) for name in record.files}
        store.put(record, files if verdicts is None else {"verdicts.json": verdicts.encode()})
    with catalog.database.writing() as connection:
        upgrade(connection, "0003")
        old = sa.MetaData()
        old.reflect(connection)
        for name, rows in home["tables"].items():
            listed: list[dict[str, Any]] = [dict(zip(rows["columns"], row, strict=True)) for row in rows["rows"]]
            if listed:
                connection.execute(sa.insert(old.tables[name]), listed)
    return {name: len(rows["rows"]) for name, rows in home["tables"].items()}
