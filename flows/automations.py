"""Automations: who is told when a run failed, crashed or turned out invalid.

Enters: DST_NOTIFY_URL, a webhook. Leaves: one automation on the Prefect server, which posts a line of JSON there ({"text": ...},
as Slack, Mattermost and others take it). The address is a secret: it is kept in an encrypted block of Prefect's and nowhere else.
"""

from __future__ import annotations

from datetime import timedelta
from typing import cast
from uuid import UUID

from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.types import SecretDict
from pydantic import SecretStr

from storage.settings import Settings
from tasks.events import RUN_INVALID

NAME = "tell of failed and invalid runs"
BLOCK = "dst-notify"
ENDINGS = {"prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"}

_MESSAGE = (
    "{% set what = 'invalid' if event.event == '" + RUN_INVALID + "' else event.event.split('.')[-1] | lower %}"
    "{% set why = event.payload.reason or event.payload.validated_state.message or '' %}"
    "{% set name = event.resource['prefect.resource.name'] or '' %}"
    "{\"text\": {{ ('Run \"' ~ name ~ '\" ' ~ what ~ ': ' ~ why) | tojson }}, \"run\": {{ name | tojson }}, "
    '"outcome": {{ what | tojson }}, "reason": {{ why | tojson }}, '
    '"url": {{ (event.payload.flow_run_url or flow_run | ui_url) | tojson }}}'
)


def ensure(settings: Settings) -> bool:
    """Make, renew or (where no address is set any more) remove the automation; return whether there is one now."""
    address = settings.notify_url.get_secret_value()
    with get_client(sync_client=True) as client:
        there = client.read_automations_by_name(name=NAME)
        for automation in there:
            client.delete_automation(automation.id)
    if not address:
        return False
    block = Webhook(method="POST", url=SecretStr(address), headers=SecretDict({"Content-Type": "application/json"}))
    block_id = cast(UUID, block.save(BLOCK, overwrite=True))
    Automation(
        name=NAME,
        description="Posts to the webhook in DST_NOTIFY_URL",
        trigger=EventTrigger(
            expect={*ENDINGS, RUN_INVALID},
            match={"prefect.resource.id": ["prefect.flow-run.*", "dst.run.*"]},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=block_id, payload=_MESSAGE)],
    ).create()
    return True
