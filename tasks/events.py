"""Events: what Prefect's automations can react to.

Enters: CAD models that were registered, runs that turned out invalid. Leaves: events on the Prefect server, where there is one.
`cad.model.registered` is sent without importing Prefect and gives up after a moment: a command that adds a file must not wait
for a server. An event is a nudge, never the truth: what is pending is asked of the catalog.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from storage.settings import Settings

if TYPE_CHECKING:
    from tasks.intake.model import Registration

log = logging.getLogger("dst")

CAD_MODEL_REGISTERED = "cad.model.registered"
RUN_INVALID = "dst.run.invalid"
PATIENCE_S = 2.0
"""How long a server may take to hear of CAD models."""


def cad_models_registered(settings: Settings, api: str | None, made: Iterable[Registration]) -> bool:
    """Tell the Prefect server at `api` of CAD models that are new or changed; return whether it heard. Never raises for a server.

    api: None or "" where there is no server to tell.
    """
    told = [
        _event(f"cad.{one.cad_id}", one.name, class_name=one.class_name, status=one.status)
        for one in made
        if one.status in ("added", "changed")
    ]
    return _post(settings, api, told)


def collection_imported(settings: Settings, api: str | None, collection: str) -> bool:
    """Tell the Prefect server at `api` that CAD models of a collection were registered: one event for all of them."""
    return _post(settings, api, [_event(f"cad.collection.{collection}", collection)])


def _post(settings: Settings, api: str | None, events: list[dict[str, Any]]) -> bool:
    if not events or not api:
        return False
    request = urllib.request.Request(
        f"{api.rstrip('/')}/events", data=json.dumps(events).encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    if auth := settings.api_auth.get_secret_value():
        request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S):
            return True
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        log.debug("no server heard of the new CAD models: %s", error)
        return False


def run_invalid(row: Mapping[str, Any]) -> None:
    """Emit an event for a run whose expectations failed. row: its row in the catalog."""
    from prefect.events import emit_event

    emit_event(
        RUN_INVALID,
        resource={
            "prefect.resource.id": f"dst.run.{row['run_id']}",
            "prefect.resource.name": f"{row['class_name']} {row['recipe']} {row['samples']}",
        },
        payload={name: row[name] for name in ("run_id", "class_name", "recipe", "samples", "reason", "counts", "flow_run_url")},
    )


def _event(resource: str, name: str, **payload: Any) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": CAD_MODEL_REGISTERED,
        "resource": {"prefect.resource.id": resource, "prefect.resource.name": name},
        "payload": payload,
    }
