"""prefect.yaml and `dst serve` say the same, as far as it can be seen without a server (test_served.py asks one)."""

from __future__ import annotations

import yaml

from flows.prefect_env import FOR_RUNS
from tests.flows.conftest import ROOT

SAID = yaml.safe_load((ROOT / "prefect.yaml").read_text())


def test_runs_get_the_same_environment() -> None:
    for deployment in SAID["deployments"]:
        assert deployment["work_pool"]["job_variables"]["env"] == FOR_RUNS, deployment["name"]


def test_the_same_flows_are_deployed_under_the_same_names() -> None:
    from flows.deployments import POOL, deployments

    said = {(row["name"], row["entrypoint"], *row["tags"], row["work_pool"]["name"]) for row in SAID["deployments"]}
    assert said == {(entry.name, entry.entrypoint, *entry.tags, POOL) for entry in deployments()}
