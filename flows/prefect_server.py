"""What Prefect's server needs repaired, loaded by it as the entry point `prefect.collections` of this package.

Prefect 3.8.8 inserts scheduled flow runs in bulk with a `state` among their values, which SQLAlchemy 2.1 refuses ("please supply
a bulk_dml decorated function") and 2.0 passed over: without this no deployment ever runs on its schedule. The state is written by
Prefect's own next statement. Prefect loads the module in servers, workers and clients; only a server has what is repaired.

The server that a command starts for itself would be stopped by the Ctrl-C that stops the command, which then waits for it in
vain, once for each thing it has to say; and it would outlive a command that is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import MutableMapping
from typing import Any

_LOOK_EVERY_S = 1.0


def repair() -> bool:
    """Let bulk inserts of flow runs pass over `state`, as SQLAlchemy 2.0 did; return whether there was anything to repair."""
    from prefect.server.database.orm_models import FlowRun

    state = FlowRun.__dict__["state"]
    if getattr(state, "bulk_dml_setter", "unknown") is not None:
        return False

    def pass_over(cls: type[Any], mapping: MutableMapping[str, Any], value: Any) -> None:
        """Leave the mapping as it is."""

    state.bulk_dml_setter = pass_over
    return True


def belong_to_the_command() -> None:
    """Let a command's own server end with the command: not by the terminal's Ctrl-C, and not after it."""
    command = os.getppid()
    os.setpgrp()

    def watch() -> None:
        while os.getppid() == command:
            time.sleep(_LOOK_EVERY_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="ends with its command").start()


if "prefect.server.api.server" in sys.modules:
    repair()
    if os.environ.get("PREFECT__SERVER_EPHEMERAL") == "1":
        belong_to_the_command()
