"""The door of the runners: which there are, and what each stands on. Light, since forms and the command line name them too."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Literal, get_args

RunnerName = Literal["local", "dask"]
LOCAL: RunnerName = "local"
CLUSTERS: Mapping[str, tuple[str, str]] = {
    "dask": ("flows.dask_cluster:DaskCluster", "prefect_dask"),
}
"""Runner -> its cluster (flows.cluster.Cluster), imported where it is used, and the package that an extra of its name brings."""


class ClusterError(ValueError):
    """A runner or a cluster that a run cannot be made with; one line that says what to do."""


def check(runner: str) -> None:
    """Raise ClusterError where a runner cannot be had here at all: before anything is started."""
    if runner not in get_args(RunnerName):
        raise ClusterError(f'there is no runner "{runner}"; there are: {", ".join(get_args(RunnerName))}')
    if runner != LOCAL and importlib.util.find_spec(CLUSTERS[runner][1]) is None:
        raise ClusterError(f"the runner {runner} is an extra that is not installed: pip install 'dst-platform[{runner}]'")
