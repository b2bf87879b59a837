"""The catalog's upkeep as flows: what the UI launches. The same by hand: `dst catalog verify`."""

from __future__ import annotations

from typing import Annotated

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.states import Completed, Failed, State

from flows.forms import Said
from storage.catalog.catalog import Catalog
from storage.catalog.verify import verify as differences
from storage.settings import Settings

SHOWN = 200
"""Differences listed in Prefect's UI; the log has them all."""


@flow(name="verify", flow_run_name="verify the catalog", result_serializer="json")
def verify(
    digests: Annotated[bool, Said("Read every file and compare its digest; off: compare sizes only, in seconds")] = True,
) -> State[int]:
    """Compare catalog and store; fail when they differ. digests: read every file, else only their sizes are compared."""
    settings = Settings()
    log = get_run_logger()
    catalog = Catalog(settings.catalog, settings.store)
    found = []
    for difference in differences(catalog, settings.store, digests=digests):
        log.warning(str(difference))
        found.append({"kind": difference.kind, "where": difference.where, "what": difference.what})
    create_table_artifact(found[:SHOWN], key="catalog-differences", description=f"{len(found)} differences")
    if found:
        return Failed(message=f"catalog and store differ in {len(found)} things; see: dst catalog verify")
    return Completed(message="catalog and store say the same", data=0)
