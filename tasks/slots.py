"""Slots: how many shards may use a renderer or a device of this machine at the same time, over all runs.

Enters: the name of a resource. Leaves: a slot of its limit, held while the body runs. The limits are Prefect's global concurrency
limits `renderer:<host>` and `gpu:<host>:<device>`, made when first used and a person's to change in the UI. A slot is a lease
that its process renews: one that was killed loses it after LEASE_S. Without a standing server there is nobody to share with.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency._asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.context import TaskRunContext
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import get_current_settings

from tasks.faults import AWAY

log = logging.getLogger("dst")

LEASE_S = 60.0
"""How long a slot stays taken after its process was killed (the least that Prefect allows); a living one renews it in time."""
_AWAY = (*AWAY, ConcurrencySlotAcquisitionError)
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
    """
    with ExitStack() as holding:
        if TaskRunContext.get() is not None and get_current_settings().api.url:
            try:
                _make(name, of)
                held = concurrency(name, lease_duration=LEASE_S, raise_on_lease_renewal_failure=False)
                held.__enter__()
                holding.callback(_let_go, name, held)
            except _AWAY as error:
                log.warning("%s: going on without a slot: %s", name, error)
        yield


def _let_go(name: str, held: AbstractContextManager[None]) -> None:
    try:
        held.__exit__(None, None, None)
    except _AWAY as error:
        log.debug("%s: its lease will run out: %s", name, error)


def _make(name: str, of: int) -> None:
    with _lock:
        if name in _made:
            return
        with get_client(sync_client=True) as client:
            with suppress(ObjectAlreadyExists):
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=of))
        _made.add(name)
