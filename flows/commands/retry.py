"""`dst retry`: what failed is tried again, and nothing else, under the recipe and for the number of samples of the last run."""

from __future__ import annotations

from collections.abc import Collection

from flows import again
from flows.again import Asked
from flows.commands.run import launch
from flows.commands.terminal import print_rows
from storage.settings import Settings
from tasks.plan.place import Place
from tasks.plan.ready import ready


def retry(
    settings: Settings,
    class_name: str | None = None,
    stage: str | None = None,
    reason: str | None = None,
    samples: Collection[str] | None = None,
) -> list[str]:
    """Try failed samples again; return the runs that did. Nothing that matches: one line, and nothing is started.

    A class whose last run did not end goes on with it where nothing more particular was asked for. Raises ValueError for a class
    or samples that are not there.
    """
    place = Place.of(settings)
    asked = Asked(class_name=class_name, stage=stage, reason=reason, samples=samples)
    todo = again.found(place, asked)
    if not todo:
        print(again.nothing(place, asked))
        return []
    print_rows(again.counted(todo), title="to be tried again")
    run_ids: list[str] = []
    # Before anything is forgotten.
    ready(place)
    for one in todo:
        if one.broke_off:
            row = one.run
            print(f"{one.class_name}: the last run ({row['status']}: {row['reason']}) did not end; going on with it")
        recipe = again.set_aside(place, one, asked)
        run_ids += launch(settings, [one.class_name], one.samples, recipe["name"], recipe["overrides"])
        if one.failed:
            print(again.outcome(place, one))
    return run_ids
