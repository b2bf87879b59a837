"""The table of all classes in the Prefect UI: the same that `dst status` prints.

Enters: its rows. Leaves: the table artifact `status`, one version more of it at the end of each scan, and of each run that no
other started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_table_artifact

from tasks.faults import for_show

KEY = "status"
"""The artifact's key: the UI shows its versions as one line of history."""


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table; a server that is too busy for it costs nothing but the table."""
    with for_show("the status of all classes"):
        create_table_artifact([dict(row) for row in rows], key=KEY, description="Classes by stage, as `dst status` shows them")
