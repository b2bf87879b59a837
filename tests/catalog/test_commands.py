"""The commands of the catalog's upkeep, as a user types them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.artifacts import ArtifactStore
from storage.catalog.catalog import Catalog
from tests.catalog import records
from tests.catalog.test_upkeep import Made, run

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Home:
    """A home folder with a catalog and a store that say the same."""

    path: Path
    url: str

    def dst(self, *command: str, code: int = 0) -> str:
        environment = os.environ | {"DST_HOME": str(self.path), "DST_CATALOG_URL": self.url}
        arguments = [sys.executable, "-m", "flows.cli", *command]
        done = subprocess.run(arguments, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=600)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def furnished(path: Path, url: str) -> Home:
    store = ArtifactStore(path / "artifacts")
    catalog = Catalog(url, store)
    catalog.migrate()
    run(Made(catalog, store), "car", 2)
    return Home(path, url)


@pytest.fixture
def home(tmp_path: Path, url: str) -> Home:
    return furnished(tmp_path / "home", url)


def test_a_lost_catalog_is_restored_and_verified_from_the_command_line(home: Home) -> None:
    assert "catalog and store say the same" in home.dst("catalog", "verify")
    with Catalog(home.url).database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM images")
    assert "4 no_row" in home.dst("catalog", "verify", "--quick", code=1)
    assert " rows from " in home.dst("catalog", "rebuild")
    assert "catalog and store say the same" in home.dst("catalog", "verify")


def test_a_store_that_lost_files_is_named_by_verify(home: Home) -> None:
    image = next((home.path / "artifacts" / "image").glob("??/*"))
    shutil.rmtree(image)
    said = home.dst("catalog", "verify", code=1)
    assert f"no_artifact    image/{image.name[:12]}" in said
    assert "1 no_artifact" in said


def test_prune_says_what_would_go_before_it_goes(home: Home) -> None:
    store = ArtifactStore(home.path / "artifacts")
    records.put(store, [record for stage, record in records.history("car", 0, 70).records.items() if stage != "cad"])
    assert "0 artifacts, 0.0 MB would be removed; 4 more are younger than 24 h" in home.dst("prune", "--dry-run")
    assert "4 artifacts, 0.0 MB would be removed" in home.dst("prune", "--dry-run", "--older-than", "0")
    assert "4 artifacts, 0.0 MB removed" in home.dst("prune", "--older-than", "0")
    assert "0 artifacts" in home.dst("prune", "--older-than", "0")
    assert "catalog and store say the same" in home.dst("catalog", "verify")
    assert "--older-than is -1 hours; it must be 0 or more" in home.dst("prune", "--older-than=-1", code=2)


def test_the_copy_says_how_old_it_is(home: Home) -> None:
    assert "there is no copy of the catalog in" in home.dst("sql", "--copy", "select 1", code=2)
    assert "5 samples, as of 20" in home.dst("catalog", "copy")
    said = home.dst("sql", "--copy", "select class_name, count(*) from samples group by 1", "--format", "csv")
    assert "car,5" in said
    assert "less than a minute old; renew it with: dst catalog copy" in said
    assert "DROP is refused" in home.dst("sql", "--copy", "drop view samples", code=2)


BAD = {
    "delete from images": "DELETE is refused: dst sql only reads",
    "selct 1": 'no query begins with "selct"; did you mean SELECT?',
    "select * from sampels": 'no such table "sampels"; did you mean samples',
    "select from where": "the query does not run: ",
}


def test_a_bad_query_is_one_line(home: Home) -> None:
    for sql, said in BAD.items():
        out = home.dst("sql", sql, code=2)
        assert said in out
        assert len(out.strip().splitlines()) == 1


def test_an_answer_that_cannot_be_written_is_one_line(tmp_path: Path, sqlite_url: str) -> None:
    home = furnished(tmp_path / "home", sqlite_url)
    for arguments, said in (
        (("select 1 as a", "--format", "csv", "--out", str(tmp_path)), "cannot be written: it is a folder"),
        (("select 1 as a", "--format", "parquet", "--out", str(tmp_path / "no" / "a.parquet")), "there is no folder"),
        (("select 1 as a, 2 as a", "--format", "json"), 'two columns are called "a"'),
    ):
        out = home.dst("sql", *arguments, code=2)
        assert said in out
        assert len(out.strip().splitlines()) == 1


def test_more_columns_than_fit_are_printed_a_value_a_line(tmp_path: Path, sqlite_url: str) -> None:
    home = furnished(tmp_path / "home", sqlite_url)
    lines = home.dst("sql", "select * from samples order by sample_id limit 2").splitlines()
    assert [line for line in lines if line.startswith("row ")] == ["row 1", "row 2"]
    assert "  class_name          car" in lines
    assert home.dst("sql", "select * from samples where class_name = 'zebra'").startswith("no rows; columns: sample_id, ")


def test_without_a_catalog_upkeep_is_one_line_and_makes_none(tmp_path: Path, sqlite_url: str) -> None:
    home = Home(tmp_path / "home", sqlite_url)
    for command, said in (
        (("prune",), "there is no catalog at"),
        (("catalog", "verify"), "there is no catalog at"),
        (("catalog", "rebuild"), "to restore from: nothing was changed"),
        (("import", "export", str(tmp_path / "out")), "there is no catalog at"),
    ):
        out = home.dst(*command, code=2)
        assert said in out
        assert len(out.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_every_format_holds_the_same_rows(home: Home, tmp_path: Path) -> None:
    import pandas as pd

    sql = "select sample_id, azimuth_deg, seed, kept from samples order by sample_id"
    table = json.loads(home.dst("sql", sql, "--format", "json"))
    home.dst("sql", sql, "--format", "csv", "--out", str(tmp_path / "a.csv"))
    home.dst("sql", sql, "--format", "parquet", "--out", str(tmp_path / "a.parquet"))
    parquet = pd.read_parquet(tmp_path / "a.parquet")
    assert [row["sample_id"] for row in table] == parquet.sample_id.tolist() == pd.read_csv(tmp_path / "a.csv").sample_id.tolist()
    assert [row["seed"] for row in table if row["seed"]] == [int(seed) for seed in parquet.seed.dropna()]
    assert table[0]["sample_id"] in home.dst("sql", sql)
    assert "say where to write it with --out" in home.dst("sql", sql, "--format", "parquet", code=2)


def test_the_flow_fails_when_catalog_and_store_differ(tmp_path: Path, sqlite_url: str) -> None:
    home = furnished(tmp_path / "home", sqlite_url)
    code = """
from flows.prefect_env import prepare
from storage.settings import Settings
prepare(Settings())
from prefect.testing.utilities import prefect_test_harness
from flows.catalog import verify
with prefect_test_harness(server_startup_timeout=300):
    print("first", verify(return_state=True).message)
    next((Settings().root / "artifacts" / "control").glob("??/*/control.png")).unlink()
    print("second", verify(return_state=True).message)
"""
    environment = os.environ | {"DST_HOME": str(home.path), "DST_CATALOG_URL": home.url}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True, capture_output=True, timeout=600)
    assert "first catalog and store say the same" in done.stdout, done.stderr[-2000:]
    assert "second catalog and store differ (1 missing_file); all of them: dst catalog verify" in done.stdout
