"""A Dask cluster for the shards of a run, through prefect-dask.

Enters: the address of a scheduler, or how many workers to start on this machine. Leaves: task runs on workers that offer the
resources `gpu` and `render`. A worker that dies is replaced by its nanny or by others, and what it was at is begun again: what it
had finished is in the store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

import dask
import distributed
from distributed.comm import CommClosedError
from distributed.security import Security
from prefect.futures import PrefectFuture
from prefect_dask import DaskTaskRunner
from prefect_dask.task_runners import PrefectDaskFuture

from flows.runners import ClusterError
from tasks import stopping
from tasks.plan.fit import GPU, RENDER

CONNECT_S = 15
"""How long a cluster may take to answer, and to have its first worker."""
START_S = 120
"""How long workers of ours may take to start, on a machine that is busy."""
STOP_S = 30
"""How long shards may take to the end of their step."""
THREADS = 2
"""Shards that a worker of ours works at together, at most: one that renders beside one that computes."""


class Begin(distributed.WorkerPlugin):  # type: ignore[misc] # Dask has no types.
    """What a worker does before it gets shards of a run, also one that joins or comes back while the run goes on."""

    def __init__(self, run: str) -> None:
        self.name, self._run = f"dst-{run}", run

    def setup(self, worker: Any) -> None:
        """Let the run work there, and its lines into the run's log."""
        logging.getLogger("dst").setLevel(logging.INFO)
        stopping.forget_run(self._run)


class Ended(PrefectDaskFuture[Any]):  # type: ignore[misc] # As above.
    """A task run on a worker. Dask waits for ever for one that ended with no Exception, as one told to stop does."""

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it has ended, however."""
        with suppress(TimeoutError, CancelledError):
            if self._final_state is not None or isinstance(self._wrapped_future.exception(timeout), (Exception, type(None))):
                super().wait(timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        """Return its result, or raise what it ended with."""
        if self._final_state is None:
            error = self._wrapped_future.exception(timeout)
            if error is not None and not isinstance(error, Exception):
                raise error
        return super().result(timeout, raise_on_failure)


class DaskCluster:
    """See flows.cluster.Cluster."""

    LOST = (CancelledError, CommClosedError, distributed.scheduler.KilledWorker)

    def __init__(self, address: str, workers: int) -> None:
        self.where = address or "this machine"
        self._least, self._within_s = (1, CONNECT_S) if address else (workers, START_S)
        if address:
            self._runner = DaskTaskRunner(address=address, client_kwargs={"timeout": CONNECT_S})
        else:
            self._runner = DaskTaskRunner(cluster_class=distributed.SpecCluster, cluster_kwargs=_of_this_machine(workers))
        self._futures: list[distributed.Future] = []

    def __enter__(self) -> DaskCluster:
        self._runner.__enter__()
        try:
            # Dask would let a worker's BLAS have one thread; bytes are the same only where it has what it has without Dask.
            with dask.config.set({"distributed.nanny.pre-spawn-environ": {}}):
                self._client = self._runner.client
            self._client.wait_for_workers(self._least, timeout=self._within_s)
        except (OSError, TimeoutError, ValueError) as error:
            self._runner.__exit__(None, None, None)
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ClusterError(
                f"no Dask cluster with workers answers at {self.where} ({said}): start one, see docs/scaling.md, "
                "or leave the address out and one is started on this machine"
            ) from None
        return self

    def __exit__(self, *error: Any) -> None:
        self._runner.__exit__(*error)

    def offers(self) -> Mapping[str, frozenset[str]]:
        """Return worker -> the resources that it was started with."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        return {
            address: frozenset(name for name, count in of["resources"].items() if count >= 1) for address, of in workers.items()
        }

    def ask(self, question: Callable[..., Any], *args: Any) -> Mapping[str, Any]:
        """Return worker -> what the question says there, or what it raises."""
        return dict(self._client.run(question, *args, on_error="return"))

    def begin(self, run: str) -> None:
        """Make every worker, and each that joins later, ready for the shards of a run."""
        self._client.register_plugin(Begin(run))

    def submit(self, task: Any, needs: str, **asked: Any) -> PrefectFuture[Any]:
        """Hand out a task run to a worker that offers what it needs."""
        with dask.annotate(resources={needs: 1} if needs else {}):
            submitted = self._runner.submit(task, **asked)
        self._futures.append(submitted.wrapped_future)
        return Ended(submitted.task_run_id, submitted.wrapped_future)

    def stop(self, run: str, why: str) -> None:
        """Tell the run's shards to stop behind their step, and wait until they have."""
        with suppress(OSError, TimeoutError, CancelledError), self._client.as_current():
            self._client.run(stopping.ask_run, run, why, on_error="ignore")
            distributed.wait(self._futures, timeout=STOP_S)
            self._client.cancel(self._futures)


def _of_this_machine(workers: int) -> dict[str, Any]:
    """Return what a cluster of so many workers is started by. All of them render; one has the device, and loads its model once.

    What travels is pickled, and whoever could send some would run code: so only who has this run's own certificate is heard.
    """
    security = Security.temporary()
    common = {"security": security, "host": "127.0.0.1", "protocol": "tls://"}
    quiet = {"silence_logs": logging.ERROR, "dashboard": False}
    return {
        "scheduler": {"cls": distributed.Scheduler, "options": {**common, "port": 0, "dashboard": False}},
        "workers": {
            number: {
                "cls": distributed.Nanny,
                "options": {
                    **common,
                    **quiet,
                    "nthreads": THREADS,
                    # A model may take all the memory there is, as without Dask.
                    "memory_limit": 0,
                    "resources": {RENDER: 1, **({GPU: 1} if number == 0 else {})},
                },
            }
            for number in range(workers)
        },
        "security": security,
        "silence_logs": logging.ERROR,
        "name": "dst",
    }
