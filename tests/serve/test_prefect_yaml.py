"""prefect.yaml and `dst serve` say the same, as far as it can be seen without a server (test_served.py asks one)."""

from __future__ import annotations

import json
import shlex

import yaml

from flows.deployments import POOL, QUEUE, deployments, lock_pool, template
from flows.prefect_env import FOR_RUNS
from tests.flows.conftest import ROOT

SAID = yaml.safe_load((ROOT / "prefect.yaml").read_text())


def test_the_pool_is_locked_and_nobody_asks_it_for_anything() -> None:
    assert SAID["build"] == [{f"{lock_pool.__module__}.{lock_pool.__name__}": {}}]
    for deployment in SAID["deployments"]:
        assert deployment["work_pool"]["name"] == POOL, deployment["name"]
        assert not {"build", "pull"} & set(deployment), deployment["name"]


def test_the_template_of_runs_holds_constants_only() -> None:
    made = template()
    assert "{{" not in json.dumps(made)
    assert made["variables"] == {"type": "object", "properties": {}, "additionalProperties": False}
    assert set(made["job_configuration"]) == {"command", "working_dir", "stream_output"}, "an env here would take a run's own"
    assert {f"{name}={value}" for name, value in FOR_RUNS.items()} < set(shlex.split(made["job_configuration"]["command"]))


def test_the_same_flows_are_deployed_under_the_same_names() -> None:
    said = {
        (row["name"], row["entrypoint"], *row["tags"], row["work_pool"].get("work_queue_name", QUEUE))
        for row in SAID["deployments"]
    }
    assert said == {(entry.name, entry.entrypoint, *entry.tags, entry.queue) for entry in deployments()}
