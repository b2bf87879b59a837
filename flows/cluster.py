"""Where the shards of a run are made: in threads of its own process, or on a cluster of Dask's or Ray's.

Enters: what a person chose (`--runner`, or the field of a form) and a cluster's address. Leaves, while a flow's body runs: its
stages' tasks go where what they need is offered, and whatever belongs to the run itself (catalog, checks, report) stays here.
Same tasks, same keys, same bytes. What cannot work is one line before any shard is handed out.
"""

from __future__ import annotations

import logging
import pkgutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from flows.runners import CLUSTERS, LOCAL, ClusterError, check
from tasks import stages
from tasks.plan.cohort import Cohort
from tasks.plan.fit import GPU, RENDER, Fitness, complaint, fitness, versions
from tasks.plan.place import Place

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture


log = logging.getLogger("dst")


class Cluster(AbstractContextManager["Cluster"], Protocol):
    """One kind of cluster: connected to, or started, when it is entered."""

    LOST: tuple[type[Exception], ...]
    """What a task run ends with when the cluster, or every worker that tried it, has gone."""
    where: str
    """Its address, for a person."""

    def offers(self) -> Mapping[str, frozenset[str]]:
        """Return worker -> what it offers."""

    def ask(self, question: Callable[..., Any], *args: Any) -> Mapping[str, Any]:
        """Return worker -> what the question says there, or what it raises."""

    def begin(self, run: str) -> None:
        """Make every worker, and each that joins later, ready for the shards of a run."""

    def submit(self, task: Any, needs: str, **asked: Any) -> PrefectFuture[Any]:
        """Hand out a task run to a worker that offers what it needs."""

    def stop(self, run: str, why: str) -> None:
        """Tell the run's shards to stop behind their step, and wait until they have."""


@contextmanager
def at(place: Place, cohort: Cohort, runner: str, address: str, workers: int) -> Iterator[None]:
    """Make a flow's shards, of a cohort, on a cluster while the body runs; nothing is changed for the runner `local`.

    address: of a cluster that is there; empty: one of so many workers on this machine, started for the body. Raises ClusterError.
    """
    check(runner)
    if runner == LOCAL:
        yield
        return
    from prefect.context import FlowRunContext
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows import stops
    from flows.runner import Spread

    context = FlowRunContext.get()
    assert context is not None, "shards are handed out by a flow"
    api = _api()
    sharing = 1 if address else workers
    cluster: Cluster = pkgutil.resolve_name(CLUSTERS[runner][0])(address, workers)
    # Workers are told by the settings of the flow where its server is, and would start one each where none is named.
    with cluster, temporary_settings({PREFECT_API_URL: api}):
        offers = trust(cluster, place, cohort, api, started_here=not address)
        cluster.begin(place.run)
        log.info(
            "%s  shards are made by %d workers of the %s cluster at %s", cohort.class_name, len(offers), runner, cluster.where
        )
        with Spread(cluster, replace(place, sharing=sharing)) as spread, context.model_copy(update={"task_runner": spread}):
            try:
                yield
            except stops.SIGNS as sign:
                stops.settle(sign)
                raise
            except cluster.LOST as error:
                said = str(error).splitlines()[0]
                raise ClusterError(
                    f"the cluster at {cluster.where} was lost ({said}); what was finished is kept: start the same command again"
                ) from error


def trust(cluster: Cluster, place: Place, cohort: Cohort, api: str, started_here: bool) -> Mapping[str, frozenset[str]]:
    """Return worker -> what it offers. Raise ClusterError where the workers of a cluster cannot do the shards of a cohort."""
    offers = cluster.offers()
    if not offers:
        raise ClusterError(f"the cluster at {cluster.where} has no workers: start some, see docs/scaling.md")
    for need in needed(cohort):
        if not any(need in offered for offered in offers.values()):
            raise ClusterError(
                f'no worker of the cluster at {cluster.where} offers "{need}": see docs/scaling.md for how to say so'
            )
    if started_here:
        # Processes of this environment, on this machine.
        return offers
    mark = f"clusters/{place.run or 'no-run'}"
    place.store.add_to_count(mark)
    here = Fitness(host=socket.gethostname(), versions=versions(), sees_store=True, lacks=None)
    answers: dict[str, Any] = {}
    for offered in set(offers.values()):
        some = cluster.ask(fitness, place, cohort.recipe, sorted(offered), mark)
        answers |= {worker: answer for worker, answer in some.items() if offers.get(worker) == offered}
    if wrong := complaint(here, answers, place, api):
        raise ClusterError(wrong)
    return offers


def needed(cohort: Cohort) -> Sequence[str]:
    """Return what some worker must offer for a cohort: of the resources that stages need, in a fixed order."""
    asked = {stage.needs for stage in stages.OF_A_SAMPLE}
    asked |= {stage.needs for stage in stages.OF_A_COHORT if stage.parts(cohort.recipe)}
    return [resource for resource in (RENDER, GPU) if resource in asked]


def _api() -> str:
    """Return the address of the flow's Prefect server, also of one that was started for a command."""
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import get_current_settings

    return get_current_settings().api.url or SubprocessASGIServer().api_url
