"""The documented queries run, on a catalog of real renders, on both databases; and other tools open the same catalog."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from storage.artifacts import ArtifactStore
from storage.catalog import copy, views
from storage.catalog.catalog import Catalog
from storage.catalog.tags import Said
from storage.catalog.verify import verify

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "catalog.md").read_text()
QUERIES = dict(re.findall(r"^### (\d+\. [^\n]+)\n+```sql\n(.+?)```", PAGE, re.M | re.S))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small classes, really rendered and painted."""
    home = tmp_path_factory.mktemp("cookbook") / "home"
    command = [sys.executable, "-m", "tests.export.made", str(home)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    catalog = Catalog(f"sqlite:///{home / 'catalog.sqlite'}", ArtifactStore(home / "artifacts"))
    rows = catalog.rows("SELECT image_key, sample_id, class_name FROM samples WHERE file IS NOT NULL ORDER BY sample_id LIMIT 5")
    catalog.add_tags([Said(**row, tag="bad" if number else "good") for number, row in enumerate(rows)], by="ada")
    return home


@pytest.fixture(params=["sqlite", "postgres"])
def real(request: pytest.FixtureRequest, home: Path) -> Catalog:
    """Their catalog, restored from the store."""
    store = ArtifactStore(home / "artifacts")
    catalog = Catalog(request.getfixturevalue(f"{request.param}_url"), store)
    catalog.rebuild(store.records())
    return catalog


def test_there_are_thirteen_queries() -> None:
    assert [int(title.split(".")[0]) for title in QUERIES] == list(range(1, 14))


def test_every_query_of_the_cookbook_has_an_answer(real: Catalog) -> None:
    answers = {title: real.query(sql) for title, sql in QUERIES.items()}
    assert [title for title, frame in answers.items() if frame.empty] == []
    assert answers["1. What is there?"].samples.tolist() == [6, 6]
    assert answers["8. What was the newest image made from?"].upstream_stage.tolist() == [
        "caption", "control", "render", "cad", "source",
    ]  # fmt: skip
    assert answers["13. Do the rules agree with people?"].images.sum() == 5
    assert answers["5. Why are things rejected?"].rejected.sum() == 6
    assert not answers["11. Who made a sample, with what, and why is it kept?"][["seed", "steps", "generator"]].isna().any().any()


def test_a_real_catalog_and_its_store_say_the_same(real: Catalog) -> None:
    assert real.store is not None
    assert list(verify(real, real.store)) == []


def test_every_view_in_the_documents_is_a_view_with_those_columns(real: Catalog) -> None:
    table = PAGE.split("## Views")[1].split("##")[0]
    named = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", table, re.M))
    assert set(named) == set(views.NAMES)
    for name, said in named.items():
        columns = set(real.query(f"select * from {name} limit 1").columns)
        wanted = set(re.findall(r"`(\w+)`", said)) - {"box_x0..y1"}
        assert wanted <= columns, f"{name} has no {wanted - columns}"


def test_a_copy_gives_the_same_numbers_as_the_catalog(real: Catalog, tmp_path: Path) -> None:
    said = copy.write(real.database, tmp_path / "copy")
    assert said.rows["samples"] == 12
    for sql in (
        "select class_name, count(*) as n, avg(kept) as share from samples group by 1 order by 1",
        "select sample_id, azimuth_deg, box_x0, seed, kcf, fidelity, control_density, file from accepted order by 1",
        "select * from coverage order by 1, 2, 3, 4",
        "select * from yields order by 1, 2, 3",
        "select what, stage, reason, rejected from rejections order by 1, 2, 3",
        "select class_name, cad_id, licence, faces from cad_models order by 1, 2",
    ):
        mine, theirs = real.query(sql), copy.query(tmp_path / "copy", sql)
        assert list(mine.columns) == list(theirs.columns)
        assert _rows(mine) == _rows(theirs), sql


def _rows(frame: Any) -> list[list[Any]]:
    plain = frame.astype(object).where(frame.notna(), None).values.tolist()
    return [[round(value, 9) if isinstance(value, float) else value for value in row] for row in plain]


def test_duckdb_and_pandas_read_the_copy_without_us(real: Catalog, tmp_path: Path) -> None:
    import duckdb
    import pandas as pd

    copy.write(real.database, tmp_path / "copy")
    path = tmp_path / "copy" / "samples.parquet"
    assert duckdb.sql(f"select class_name, count(*) from '{path}' group by 1 order by 1").fetchall() == [
        ("car", 6), ("garden chair", 6),
    ]  # fmt: skip
    assert len(pd.read_parquet(path)) == 12


def test_datasette_shows_the_views(home: Path) -> None:
    from datasette.app import Datasette

    async def ask(path: str) -> Any:
        answer = await Datasette([str(home / "catalog.sqlite")]).client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert asyncio.run(ask("/catalog/accepted.json?_shape=array&_size=3&class_name=car"))[0]["class_name"] == "car"
    names = asyncio.run(ask("/catalog.json"))["views"]
    assert set(views.NAMES) <= {view["name"] for view in names}
