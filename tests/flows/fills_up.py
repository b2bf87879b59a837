"""Fill a small disk before each stage of a run, try the stage, make room, and do it: what was said is printed as JSON.

Started by tests/flows/test_places.py, in a name space where the home is a file system of its own.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from models.image.kinds import GENERATORS
from storage.catalog import copy
from storage.export.release import export
from storage.folders import NoRoomLeft, is_full
from storage.keys import plain
from tasks import stages
from tasks.catalog import catalog, check
from tasks.plan.pages import write_report
from tasks.shard import fill
from tests.flows.test_place import SAMPLES, PlainSpec, place, planned, rendered


def main() -> None:
    """Walk all stages."""
    GENERATORS.register(PlainSpec)
    here = place(Path(os.environ["DST_HOME"]))
    said: dict[str, str] = {}

    def tried(stage: str, work: Callable[[], Any]) -> Any:
        filled = here.home / "filled"
        with filled.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        try:
            work()
            said[stage] = "nothing: it was done"
        except (NoRoomLeft, ValueError) as error:
            said[stage] = str(error)
        except OSError as error:
            # What `dst` turns into one line by its number.
            said[stage] = os.strerror(errno.ENOSPC) if is_full(error) else repr(error)
        filled.unlink()
        return work()

    cohort = tried("cad add", lambda: planned(here, 30_000))
    shard = cohort.shards()[0]
    for stage in stages.OF_A_SAMPLE:
        if stage.name == "render":
            tried("render", lambda: fill("render", shard, cohort.recipe, here, rendered))
        elif stage.name != "cad":
            tried(stage.name, lambda stage=stage: stage.run().fn(here, shard, cohort.recipe))  # type: ignore[misc]
    for of_all in stages.OF_A_COHORT:
        for part in of_all.parts(cohort.recipe):
            tried(of_all.name, lambda of_all=of_all, part=part: of_all.run().fn(here, cohort, part))  # type: ignore[misc]
    run_id = tried(
        "run",
        lambda: here.catalog.start_run(
            class_name="car", recipe=cohort.recipe.name, recipe_specs=plain(cohort.recipe), samples=SAMPLES
        ),
    )
    counts = tried("catalog", lambda: catalog.fn(here, cohort, run_id))
    tried("check", lambda: check.fn(here, cohort, run_id))
    here.catalog.finish_run(run_id, status="complete", counts=counts)
    tried("report", lambda: write_report(here, run_id))
    tried("export", lambda: export(here.catalog, here.store, format="coco", out=here.home / "out", name="car-v1"))
    tried("copy", lambda: copy.write(here.catalog.database, here.home / "copy"))
    print(json.dumps(said))


if __name__ == "__main__":
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        main()
