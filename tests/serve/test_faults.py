"""Nightly: what may go wrong between machines while a class is made, and at the end the bytes of one quiet run, all of them once.

The same shard handed out twice is part of every test run: tests/serve/test_stack.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from models.cad import parametric
from storage.stages import OF_A_SAMPLE
from tests.flows.conftest import Home
from tests.serve.stack import QUICK, InStack, Stack, auth, clean, digests, launched, running

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

AWAY_S = 30.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("faults")) as stack:
        yield stack


def register(home: Home, folder: Path, class_name: str) -> None:
    """Register two CAD models of a class of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    first = int.from_bytes(class_name.encode()[:3], "big")
    for seed in (first, first + 1):
        (folder / f"{seed}.glb").write_bytes(parametric.glb("car", seed))
    home.dst("cad", "add", str(folder), "--class", class_name)


def until_there(stack: Stack, before: dict[str, str], stage: str) -> None:
    """Wait until something of a stage is in the store that was not there before."""
    until = time.monotonic() + 300
    while not [name for name in digests(stack).keys() - before.keys() if name.startswith(f"{stage}/")]:
        assert time.monotonic() < until, stack.said()
        time.sleep(0.1)


def rendering(stack: Stack, tmp_path: Path, class_name: str) -> str:
    """Launch a run of 8 samples of a new class and wait until one is rendered; return its flow run."""
    register(stack.homes[0], tmp_path / class_name, class_name)
    before = digests(stack)
    run = launched(stack, class_name=class_name, samples=8, recipe="small")
    until_there(stack, before, "render")
    return run


@pytest.fixture
def whole(stack: Stack, tmp_path: Path) -> Callable[[str, int], None]:
    """What says that a class was made as one quiet run makes it, all of it once."""

    def check(class_name: str, samples: int) -> None:
        quiet = InStack(tmp_path / "quiet", "", clean() | QUICK | auth(stack) | {"DST_HOME": str(tmp_path / "quiet")})
        register(quiet, tmp_path / class_name, class_name)
        quiet.dst("run", class_name, "--samples", str(samples), "--overrides", quiet.overrides())
        wanted = quiet.digests(*OF_A_SAMPLE)
        assert wanted.items() <= digests(stack).items()
        with psycopg.connect(stack.database.url("catalog")) as connection:
            asked = "select count(*), count(distinct image_key) from samples where class_name = %s and in_cohort = 1"
            assert connection.execute(asked, [class_name]).fetchone() == (samples, samples)
        assert "catalog and store say the same" in stack.homes[0].dst("catalog", "verify")

    return check


def test_a_store_that_is_away_for_a_while_is_waited_for(stack: Stack, tmp_path: Path, whole: Callable[[str, int], None]) -> None:
    run = rendering(stack, tmp_path, "van")
    stack.s3.stop()
    time.sleep(AWAY_S)
    stack.s3.start()
    ended = stack.platform.wait(run)
    assert ended["state_type"] == "COMPLETED", (ended["state"], stack.said())
    whole("van", 8)


def test_a_database_that_starts_anew_costs_no_work(stack: Stack, tmp_path: Path, whole: Callable[[str, int], None]) -> None:
    run = rendering(stack, tmp_path, "bus")
    stack.database.stop()
    time.sleep(5)
    stack.database.start()
    ended = stack.platform.wait(run)
    if ended["state_type"] != "COMPLETED":
        # Prefect's own server may lose the run; what it had made is kept, and the next goes on with it.
        made = digests(stack)
        ended = stack.platform.wait(launched(stack, class_name="bus", samples=8, recipe="small"))
        assert ended["state_type"] == "COMPLETED", (ended["state"], stack.said())
        assert made.items() <= digests(stack).items()
    whole("bus", 8)
