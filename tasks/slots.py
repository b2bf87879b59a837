"""Slots: how many shards may use a renderer or a device of this machine at the same time, over all runs.

Enters: the name of a resource. Leaves: a slot of its limit, held while the body runs. The limits are Prefect's global concurrency
limits `renderer:<host>` and `gpu:<host>:<device>`, made when first used and a person's to change in the UI. A slot is a lease
that its process renews: one that was killed loses it after LEASE_S. Without a standing server there is nobody to share with.
Whoever waits asks again and again by itself instead of letting Prefect wait, which no word to stop could reach.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency._leases import maintain_concurrency_lease
from prefect.context import TaskRunContext
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import get_current_settings

from tasks import states, stopping, waiting
from tasks.faults import AWAY

log = logging.getLogger("dst")

LEASE_S = 60.0
"""How long a slot stays taken after its process was killed (the least that Prefect allows); a living one renews it in time."""
ASK_EVERY_S = 2.0
"""How often whoever waits for a slot asks for it. It costs the server one small question."""
_TAKEN = 423
"""Prefect's answer where all slots are taken."""
_lock = threading.Lock()
_made: set[str] = set()


def renderer() -> str:
    """Return the name of this machine's renderer limit."""
    return f"renderer:{socket.gethostname()}"


def device(name: str) -> str:
    """Return the name of the limit of a torch device of this machine, such as cuda:1 or cpu."""
    return f"gpu:{socket.gethostname()}:{'cuda:0' if name == 'cuda' else name}"


@contextmanager
def slot(name: str, of: int) -> Iterator[None]:
    """Hold a slot of the limit `name` while the body runs; wait for one where all are taken.

    of: how many slots the limit has when it is made. Never fails for a server's sake: where it is away the body runs without.
    Raises Stopped, within a second, where the run is told to stop while it waits.
    """
    with ExitStack() as holding:
        if TaskRunContext.get() is not None and get_current_settings().api.url:
            try:
                _make(name, of)
                lease = _acquired(name)
                holding.callback(_let_go, name, lease)
                holding.enter_context(maintain_concurrency_lease(lease, LEASE_S, raise_on_lease_renewal_failure=False))
            except AWAY as error:
                log.warning("%s: going on without a slot: %s", name, error)
        yield


@contextmanager
def turn(lock: threading.Lock, what: str) -> Iterator[None]:
    """Hold a lock of this process while the body runs. Raises Stopped where the run is told to stop while it waits."""
    if not lock.acquire(blocking=False):
        in_prefect = TaskRunContext.get() is not None
        with waiting.counted():
            if in_prefect:
                states.waits(f"{what}: another shard of this process is at it")
            while not lock.acquire(timeout=0.2):
                stopping.heed()
            if in_prefect:
                states.goes_on("")
    try:
        yield
    finally:
        lock.release()


def _acquired(name: str) -> UUID:
    """Wait for a slot and return its lease."""
    lease = _asked_for(name)
    if lease is not None:
        return lease
    began, run = time.monotonic(), _task_run()
    log.info("%s waits for %s", run, name)
    states.waits(name)
    with waiting.counted():
        while lease is None:
            stopping.pause(ASK_EVERY_S)
            lease = _asked_for(name)
    seconds = time.monotonic() - began
    log.info("%s goes on after %.0f s of waiting for %s", run, seconds, name)
    states.goes_on(f"waited {seconds:.0f} s for {name}")
    return lease


def _asked_for(name: str) -> UUID | None:
    """Return the lease of a slot, or None where all are taken. Prefect's own `concurrency` calls that an error aloud."""
    stopping.heed()
    with get_client(sync_client=True) as client:
        try:
            answer = client.increment_concurrency_slots_with_lease([name], 1, "concurrency", LEASE_S)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == _TAKEN:
                return None
            raise
    return UUID(answer.json()["lease_id"])


def _task_run() -> str:
    context = TaskRunContext.get()
    return context.task_run.name if context is not None else "a task run"


def _let_go(name: str, lease: UUID) -> None:
    try:
        with get_client(sync_client=True) as client:
            client.release_concurrency_slots_with_lease(lease_id=lease)
    except AWAY as error:
        log.debug("%s: its lease will run out: %s", name, error)


def _make(name: str, of: int) -> None:
    with _lock:
        if name in _made:
            return
        with get_client(sync_client=True) as client:
            with suppress(ObjectAlreadyExists):
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=of))
        _made.add(name)
