"""What runs by itself, and when: the scan on a schedule and on an event, verify once a week, neither twice at once.

Enters: settings (cron, time zone). Leaves: what the two deployments say, in Prefect's words. The same values stand in
prefect.yaml for people who deploy from there.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.events import DeploymentEventTrigger
from prefect.schedules import Cron

from storage.settings import Settings
from tasks.events import CAD_MODEL_REGISTERED

DEBOUNCE = timedelta(seconds=10)
"""Events that come so close together are one: the first makes a run that starts so much later, when the others have come."""


VERIFY_CRON = "30 3 * * 0"
"""Every file is read: in the night to Sunday, when few people wait for anything."""
# One that comes while another is at it is cancelled: a scan looks again before it ends, and comparing twice says nothing new.
_ONE = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


def of_scan(settings: Settings) -> dict[str, Any]:
    """Return schedule, trigger and limit of the scan's deployment. Raises ValueError for a zone or a cron that is none."""
    return {
        "schedule": Cron(settings.scan_cron, timezone=timezone(settings)),
        "triggers": [
            DeploymentEventTrigger(
                name="a CAD model was registered",
                match={"prefect.resource.id": "cad.*"},
                expect={CAD_MODEL_REGISTERED},
                within=DEBOUNCE,
                schedule_after=DEBOUNCE,
            )
        ],
        "concurrency_limit": _ONE,
    }


def of_verify(settings: Settings) -> dict[str, Any]:
    """Return schedule and limit of verify's deployment. Raises ValueError for a zone that is none."""
    return {"schedule": Cron(VERIFY_CRON, timezone=timezone(settings)), "concurrency_limit": _ONE}


def timezone(settings: Settings) -> str:
    """Return the time zone of schedules: the one that is set, else this machine's. Raises ValueError."""
    name = settings.timezone or _of_this_machine()
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f'DST_TIMEZONE is "{name}": no such time zone; say one such as Europe/Berlin or UTC') from None
    return name


def _of_this_machine() -> str:
    try:
        linked = os.path.realpath("/etc/localtime").split("/zoneinfo/")
        name = linked[1] if len(linked) == 2 else Path("/etc/timezone").read_text().strip()
        ZoneInfo(name)
    except (OSError, ZoneInfoNotFoundError, ValueError):
        return "UTC"
    return name
