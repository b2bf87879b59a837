"""The first command a newcomer types, with the shipped weights and Prefect's own temporary server."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.flows.conftest import Home, Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, str]:
    """A finished demo, of 4 samples a class instead of 32, in a folder as people name them."""
    home = Home(tmp_path_factory.mktemp("newcomer") / "my data ü'q", "")
    return home, home.dst("demo", "--samples", "4")


def test_the_demo_makes_its_samples_and_says_where_everything_is(demo: tuple[Home, str]) -> None:
    home, said = demo
    rows = home.rows(
        "select class_name, count(*) as made, count(distinct cad_id) as models from samples where status = 'made' group by 1"
    )
    assert rows == [{"class_name": name, "made": 4, "models": 4} for name in ("airplane", "car", "chair")]
    assert {row["status"] for row in home.rows("select status from runs")} == {"complete"}
    for what in ("report", "catalog", "images"):
        place = re.search(rf"^\s*{what}\s+(.+)$", said, re.M)
        assert place, said
        assert Path(place[1].removeprefix("sqlite:///")).exists()
    assert "dst sql" in said


def test_the_demo_started_again_computes_nothing_within_20_seconds(demo: tuple[Home, str]) -> None:
    home, _ = demo
    before = home.digests()
    started = time.monotonic()
    said = home.dst("demo", "--samples", "4")
    assert time.monotonic() - started < 20
    assert said.count("nothing to make") == 3
    assert "starting Prefect" not in said
    assert home.digests() == before


def test_with_one_image_deleted_the_demo_makes_exactly_that_one(demo: tuple[Home, str]) -> None:
    home, _ = demo
    before = home.digests()
    victim = next(name for name in sorted(before) if name.startswith("image/"))
    (home.path / "artifacts" / victim).unlink()
    said = home.dst("demo", "--samples", "4")
    made = {match[0]: int(match[1]) for match in re.findall(r"(\w+)\s+\w+/0000\s+([1-9]\d*) made", said)}
    assert made == {"image": 1}
    assert home.digests() == before


def test_the_server_that_the_pins_give_is_healthy(server: Server) -> None:
    import httpx

    assert httpx.get(f"{server.api}/health", timeout=10).json() is True
