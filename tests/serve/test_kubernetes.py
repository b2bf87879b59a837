"""The manifests of docs/kubernetes: what Kubernetes takes, by its own schemas, and what the worker and its image take."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flows.cli import app
from flows.commands import serve
from storage.settings import Settings
from tests.flows.conftest import ROOT

VERSIONS = ("1.29", "1.33", "1.37")
"""The oldest, one between, and the newest that the validator knows."""
FILES = sorted((ROOT / "docs" / "kubernetes").glob("*.yaml"))
MANIFESTS = [item for file in FILES for item in yaml.safe_load_all(file.read_text())]
WORKERS = {item["metadata"]["name"]: item for item in MANIFESTS if item["kind"] == "Deployment"}


def container(name: str) -> dict[str, Any]:
    (found,) = WORKERS[name]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(name: str) -> Iterator[str]:
    """Names of what a worker is told, but for its secrets."""
    yield from (one["name"] for one in container(name)["env"])
    maps = {item["metadata"]["name"]: item["data"] for item in MANIFESTS if item["kind"] == "ConfigMap"}
    for source in container(name)["envFrom"]:
        yield from maps[source["configMapRef"]["name"]] if "configMapRef" in source else ()


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_them(version: str) -> None:
    assert {item["kind"] for item in MANIFESTS} == {"ConfigMap", "Deployment"}
    for item in MANIFESTS:
        kubernetes_validate.validate(item, version, strict=True)


def test_the_validator_would_say_so() -> None:
    wrong = deepcopy(WORKERS["dst-worker"])
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_no_secret_stands_in_them_and_none_has_a_default() -> None:
    assert not [item for item in MANIFESTS if item["kind"] == "Secret"]
    for name in WORKERS:
        said = set(environment(name))
        assert not said & {"DST_CATALOG_URL", "PREFECT_API_AUTH_STRING", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        assert {"secretRef": {"name": "dst"}} in container(name)["envFrom"]


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_a_worker_knows_what_it_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"DST_{field.upper()}" for field in Settings.model_fields}
    assert {word for word in environment(name) if word.startswith("DST_")} <= known
    asked: list[Any] = []
    monkeypatch.setattr(serve, "work", lambda *given: asked.append(given[1:]))
    words = container(name)["args"]
    assert words[0] == "dst"
    app(words[1:], result_action="return_value")
    # No run takes another's memory; scans need folders that a pod does not see; the probe asks the pod's own address.
    assert asked == [(1, False, ("0.0.0.0", 8080))]
    assert container(name)["ports"] == [{"name": "health", "containerPort": 8080}]
    assert {container(name)[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {"/health"}


def test_it_runs_as_the_image_s_user_without_rights_and_stops_as_slowly_as_a_run() -> None:
    image = (ROOT / "Dockerfile").read_text()
    for name, worker in WORKERS.items():
        pod = worker["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert f"--uid {pod['securityContext']['runAsUser']} " in image
        assert container(name)["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert pod["terminationGracePeriodSeconds"] > serve.END_AT_MOST_S
        assert container(name)["image"] in (ROOT / "docker-compose.yml").read_text()
    assert container("dst-worker-gpu")["resources"]["limits"]["nvidia.com/gpu"] == 1
