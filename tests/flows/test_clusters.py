"""Shards on a Dask cluster: the bytes of a run without, whatever becomes of a worker; what cannot work is one line."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import distributed
import pytest

from flows import cluster as clusters
from flows import dask_cluster, runners
from flows.dask_cluster import DaskCluster
from flows.runner import threads
from flows.runners import ClusterError
from storage.settings import Settings
from tasks import progress, stages, stopping
from tasks.plan.fit import GPU, RENDER, Fitness, complaint, fitness, versions
from tasks.plan.place import Place
from tests.flows.conftest import Home, Server, add_cars, small
from tests.flows.test_stages import cohort

KILLED = """
import json, sys, threading, time
from pathlib import Path

if __name__ == "__main__":
    import psutil
    from flows.prefect_env import prepare
    from storage.settings import Settings
    prepare(Settings())
    from flows.generate import generate
    from tasks.plan import cohort

    cohort.SHARD_AT_LEAST = 4
    artifacts, done = Settings().root / "artifacts", []

    def kill_one():
        while not done:
            if there := [file for file in artifacts.glob("render/*/*/*")]:
                children = psutil.Process().children(recursive=True)
                renders = lambda one: any("models.render.worker" in " ".join(each.cmdline()) for each in one.children())
                victim = next(one for one in children if renders(one))
                before = {str(file): file.stat().st_mtime_ns for file in there}
                victim.kill()
                done.append(before)
            time.sleep(0.02)

    threading.Thread(target=kill_one, daemon=True).start()
    report = generate("car", 12, "embedded", json.loads(sys.argv[1]), "dask")
    again = [name for name, at in done[0].items() if Path(name).stat().st_mtime_ns != at]
    print(json.dumps({"report": report, "killed": len(done), "before": len(done[0]), "again": again}))
"""


@pytest.mark.slow
def test_a_run_on_dask_has_the_bytes_of_one_without_though_a_worker_is_killed(
    unbroken: Home, home: Home, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_cars(home, tmp_path / "cars")
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    monkeypatch.setenv("DST_CLUSTER_WORKERS", "2")
    ran = home.python(str(script), json.dumps(small()))
    assert ran.returncode == 0, ran.stderr[-3000:]
    said = json.loads(ran.stdout.splitlines()[-1])
    assert said["killed"] == 1
    assert said["before"] > 0
    assert said["again"] == [], "what was finished before is not made again"
    assert said["report"]["status"] == "complete"
    assert said["report"]["counts"]["new_image"] == 12
    mine = home.digests()
    assert mine.items() <= unbroken.digests().items()
    assert sum(name.startswith("image/") for name in mine) == 12
    names = {run["name"] for run in server.task_runs(said["report"]["run_id"])}
    assert {f"{stage} car/000{shard}" for stage in ("render", "image") for shard in range(3)} <= names
    assert not [name for name in names if name.startswith("render car/0003")]


# -- what cannot work --------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return replace(Place.of(Settings(home=tmp_path)), run="a run", catalog_url="postgresql://catalog")


@pytest.fixture
def dask() -> Iterator[distributed.LocalCluster]:
    """A cluster of one worker, which offers to render, in this process."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, resources={RENDER: 1}, protocol="tcp://"
    ) as cluster:
        yield cluster


def test_no_cluster_at_the_address_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_S", 0.5)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(ClusterError, match=f"no Dask cluster with workers answers at {address}") as caught:
        DaskCluster(address, 1).__enter__()
    assert "\n" not in str(caught.value)


def test_a_cluster_without_a_device_is_one_line_before_any_shard(dask: distributed.LocalCluster, here: Place) -> None:
    with DaskCluster(dask.scheduler_address, 1) as cluster:
        assert list(cluster.offers().values()) == [frozenset({RENDER})]
        with pytest.raises(ClusterError, match=r'no worker of the cluster at .* offers "gpu"'):
            clusters.trust(cluster, here, cohort("embedded"), "", started_here=False)


def test_a_worker_is_asked_what_it_is_and_told_to_stop(dask: distributed.LocalCluster, here: Place) -> None:
    here.store.add_to_count("clusters/a run")
    with DaskCluster(dask.scheduler_address, 1) as cluster:
        (answer,) = cluster.ask(fitness, here, cohort("embedded").recipe, [], "clusters/a run").values()
        assert (answer.host, answer.versions, answer.sees_store) == (socket.gethostname(), versions(), True)
        cluster.stop("a run", "Ctrl-C")
        with stopping.of_run("a run"):
            assert stopping.why() == "Ctrl-C"
        assert stopping.why() == ""
        cluster.begin("a run")
        with stopping.of_run("a run"):
            assert stopping.why() == ""


def test_a_shard_that_was_told_to_stop_is_no_wait_for_ever_and_no_word_to_the_next(dask: distributed.LocalCluster) -> None:
    def told() -> None:
        raise stopping.Stopped("Ctrl-C")

    with distributed.Client(dask, set_as_default=False) as client:
        ended = dask_cluster.Ended(uuid4(), client.submit(told))
        ended.wait(20)
        with pytest.raises(stopping.Stopped, match="Ctrl-C"):
            ended.result(20)
    with pytest.raises(stopping.Stopped), threads(1).duplicate():
        told()
    assert not stopping.asked()


def test_a_scheduler_that_dies_is_said_at_once(here: Place, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    arguments = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, cwd=tmp_path) as scheduler:
        # As long as there is no worker: it is about who deals, not about who works.
        with distributed.Client(f"tcp://127.0.0.1:{port}", timeout=60, set_as_default=False) as client:
            waiting = client.submit(sum, [1, 2])
            scheduler.kill()
            with pytest.raises(DaskCluster.LOST):
                waiting.result(timeout=20)


def _fit(**other: Any) -> Fitness:
    return replace(Fitness(host="here", versions={"torch": "2", "python": "3"}, sees_store=True, lacks=None), **other)


@pytest.mark.parametrize(
    ("worker", "catalog", "api", "said"),
    [
        (_fit(), "sqlite:///x", "", None),
        (_fit(host="there"), "postgresql://x", "http://server/api", None),
        (_fit(host="there"), "sqlite:///x", "http://server/api", "SQLite file, which machines cannot share: set DST_CATALOG_URL"),
        (_fit(host="there"), "postgresql://x", "http://127.0.0.1:4200/api", "cannot reach the Prefect server"),
        (_fit(versions={"torch": "1", "python": "3"}), "sqlite:///x", "", r"other versions \(torch 1 there and 2 here\)"),
        (_fit(sees_store=False), "sqlite:///x", "", "does not see the store"),
        (_fit(lacks="Blender does not start there"), "sqlite:///x", "", "cannot do its part: Blender does not start there"),
        (ModuleNotFoundError("No module named 'tasks'"), "sqlite:///x", "", "does not know this project"),
    ],
)
def test_what_is_wrong_with_a_worker_is_one_line(worker: Any, catalog: str, api: str, said: str | None, here: Place) -> None:
    found = complaint(_fit(), {"tcp://w:1": worker}, replace(here, catalog_url=catalog), api)
    if said is None:
        assert found is None
    else:
        assert found is not None
        assert re.search(said, found), found
        assert "tcp://w:1" in found
        assert "\n" not in found


def test_a_runner_whose_extra_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners.importlib.util, "find_spec", lambda name: None)
    runners.check("local")
    with pytest.raises(ClusterError, match=r"pip install 'dst-platform\[dask\]'"):
        runners.check("dask")
    with pytest.raises(ClusterError, match='there is no runner "slurm"; there are: local, dask'):
        runners.check("slurm")


def test_a_bar_moves_by_what_other_processes_have_done() -> None:
    seen: list[tuple[int, bool]] = []
    with progress.listened(lambda bar: seen.append((bar.done, bar.finished))), progress.whole("a run", "car", {"render": 12}):
        progress.moved("a run", "render", "car", 8)
        progress.moved("another run", "render", "car", 8)
        progress.moved("a run", "render", "car", 4)
    assert seen == [(8, False), (12, True)]


def test_shards_go_where_their_resource_is() -> None:
    needs = {stage.name: stage.needs for stage in (*stages.OF_A_SAMPLE, *stages.OF_A_COHORT)}
    assert {name for name, need in needs.items() if need == GPU} == {"image", "readout", "score"}
    assert {name for name, need in needs.items() if need == RENDER} == {"render"}
    assert clusters.needed(cohort("embedded")) == [RENDER, GPU]
