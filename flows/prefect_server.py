"""One repair of Prefect's server, loaded by it as the entry point `prefect.collections` of this package.

Prefect 3.8.8 inserts scheduled flow runs in bulk with a `state` among their values, which SQLAlchemy 2.1 refuses ("please supply
a bulk_dml decorated function") and 2.0 passed over: without this no deployment ever runs on its schedule. The state is written by
Prefect's own next statement. Prefect loads the module in servers, workers and clients; only a server has what is repaired.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any


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


if "prefect.server.api.server" in sys.modules:
    repair()
