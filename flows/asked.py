"""What a person asks for between runs, from the Prefect UI: a preview, a plan, another try, another filter, a release.

Enters: flat forms. Leaves: what the commands of a terminal leave, by the same code (flows.ahead, flows.again, flows.releasing),
and a flow run that says in its state's message how it went. What a person can put right ends it as Failed, in one line.
"""

from __future__ import annotations

import functools
import json
import logging
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows import again, ahead, deciding, offers, recipes, releasing, runs
from flows.again import Asked
from flows.forms import (
    ALL_CLASSES,
    ClassName,
    ControlScale,
    OneOf,
    OneOrAll,
    RecipeName,
    Said,
    Samples,
    Steps,
    changes,
    recipes_made,
)
from flows.generate import generate, several
from flows.live import person
from flows.preview import SAMPLES, preview
from flows.runner import threads
from models.verdict.spec import VerdictSpec
from models.verdict.wish import ASKED_LIKE
from storage.catalog.catalog import Catalog
from storage.export.card import summary
from storage.export.release import CARD, FORMATS
from storage.folders import NoRoomLeft
from storage.keys import canonical_json, plain
from storage.settings import Settings
from storage.stages import OF_A_SAMPLE
from tasks.faults import artifact_name, for_show
from tasks.plan.place import Place
from tasks.plan.ready import ready
from tasks.run import RunReport, in_words

log = logging.getLogger("dst")

P = ParamSpec("P")
T = TypeVar("T")

ANY_STAGE = "(any stage)"
LAST_RECIPE = "(that of its last run)"
ONE_RECIPE = "(the only one)"
"""Choices that stand for none."""


def in_a_line(asked: Callable[P, T]) -> Callable[P, T | State[Any]]:
    """Let a flow end as Failed with the one line that says what a person can put right, and without a traceback."""

    @functools.wraps(asked)
    def run(*args: P.args, **kwargs: P.kwargs) -> T | State[Any]:
        try:
            return asked(*args, **kwargs)
        except (ValueError, NoRoomLeft, FileNotFoundError) as error:
            log.debug("what was asked for cannot be done", exc_info=True)
            return Failed(message=str(error))

    return run


@flow(
    name="preview a class",
    flow_run_name="preview {class_name} {recipe}",
    task_runner=threads(4),
    result_serializer="json",
)
@in_a_line
def preview_class(
    class_name: Annotated[ClassName, Said("One of the registered classes")],
    samples: Annotated[int, Field(ge=1, le=100_000), Said("Samples of the whole run, whose costs it tells")] = 200,
    recipe: RecipeName = "embedded",
    steps: Steps = 0,
    control_scale: ControlScale = 0.0,
) -> State[str]:
    """Make the first 8 samples of a class and a picture of them, and say what the whole run costs. The class stays as it is."""
    place, overrides = Place.of(Settings()), changes(steps, control_scale)
    _, (cohort,) = ahead.planned(place, [class_name], samples, recipe, overrides)
    sheet = preview.fn(class_name, min(samples, SAMPLES), recipe, overrides)
    costs = ahead.costs(place, [cohort], ahead.missing_of(place, [cohort]))
    return Completed(message=f"{class_name} ({cohort.recipe.name}): {sheet}; all {samples}: {costs}", data=sheet)


@flow(name="dry run", flow_run_name=lambda: f"dry run of {several()}", result_serializer="json")
@in_a_line
def dry_run(
    class_names: Annotated[list[ClassName], Field(min_length=1), Said("Registered classes")],
    samples: Samples = 200,
    recipe: RecipeName = "embedded",
    steps: Steps = 0,
    control_scale: ControlScale = 0.0,
) -> State[dict[str, Any]]:
    """Say what is cached, what is missing and what making it takes in time and disk. Nothing is made."""
    place = Place.of(Settings())
    _, cohorts = ahead.planned(place, class_names, samples, recipe, changes(steps, control_scale))
    lacking = ahead.missing_of(place, cohorts)
    rows, costs = ahead.table(place, cohorts, lacking), ahead.costs(place, cohorts, lacking)
    resolved = cohorts[0].recipe
    shown = [
        f"To make what is missing: **{costs}**.",
        *(_plan(row) for row in rows),
        *offers.in_words(resolved, sum(missing.get("image", 0) for missing in lacking)),
        f"The recipe {resolved.name}:",
        f"```json\n{json.dumps(json.loads(canonical_json(resolved)), indent=1)}\n```",
    ]
    with for_show("the dry run"):
        create_markdown_artifact("\n\n".join(shown), key="dry-run", description=f"{resolved.name}: {costs}")
    return Completed(message=f"to make what is missing: {costs}", data={"rows": rows, "costs": costs})


@flow(name="retry what failed", flow_run_name="retry {class_name}", result_serializer="json")
@in_a_line
def retry(
    class_name: Annotated[OneOrAll, Said("Only this class")] = ALL_CLASSES,
    stage: Annotated[str, OneOf(lambda: [ANY_STAGE, *OF_A_SAMPLE]), Said("Only what failed at this stage")] = ANY_STAGE,
    reason: Annotated[str, Said("Only what failed for this reason, as a run's counts name it; empty: any")] = "",
    samples: Annotated[list[str], Said("Only these samples, by name; none: all")] = [],  # noqa: B006 - as in flows.train.
) -> State[Any] | list[RunReport]:
    """Try failed samples again, under the recipe of the class's last run; what was made stays."""
    place = Place.of(Settings())
    place.catalog.database.require_schema()
    asked = Asked(
        class_name=None if class_name == ALL_CLASSES else class_name,
        stage=None if stage == ANY_STAGE else stage,
        reason=reason or None,
        samples=samples or None,
    )
    todo = again.found(place, asked)
    if not todo:
        return Completed(message=again.nothing(place, asked), data=[])
    with for_show("what is tried again"):
        create_markdown_artifact(_table(again.counted(todo)), key="retry", description="To be tried again")
    # Before anything is forgotten.
    ready(place)
    states: list[State[Any]] = []
    for one in todo:
        recipe = again.set_aside(place, one, asked)
        states.append(generate(one.class_name, one.samples, recipe["name"], recipe["overrides"], return_state=True))
    said = "; ".join(again.outcome(place, one) for one in todo)
    if failed := [state for state in states if not state.is_completed()]:
        return Failed(message=f"{said}; {failed[0].message}")
    return Completed(message=said, data=[state.result() for state in states])


@flow(name="filter again", flow_run_name="filter {class_name} again", task_runner=threads(4), result_serializer="json")
@in_a_line
def filter_again(
    class_name: Annotated[ClassName, Said("One of the registered classes")],
    recipe: Annotated[
        str, OneOf(lambda: [LAST_RECIPE, *recipes_made()]), Said("Whose images are judged: the recipe that they were made under")
    ] = LAST_RECIPE,
    name: Annotated[str, Said("What the recipe with the other filter is called; empty: the recipe's name and a plus")] = "",
    control_at_least: Annotated[
        float, Field(ge=-1, le=1), Said("Keep images with at least this fidelity to their control; -1: as the recipe says")
    ] = -1.0,
    pose_at_most: Annotated[
        float, Field(ge=0, le=1_000), Said("Keep images with at most this pose inconsistency (kcf); 0: as the recipe says")
    ] = 0.0,
    others: Annotated[
        list[str],
        Said("Other changes of the filter, a line of a recipe's [verdict] each: rules.pose = false, judges.kcf.folds = 4"),
    ] = [],  # noqa: B006 - as in flows.train.
) -> State[Any] | RunReport:
    """Judge the images of a class by other rules or judges. No image is painted again, and the other verdicts stay on record.

    The class goes on under the recipe with the other filter: a scan fills up that one.
    """
    place = Place.of(Settings(), run=str(flow_run.get_id()))
    place.catalog.database.require_schema()
    run = deciding.judged_run(place, class_name, None if recipe == LAST_RECIPE else recipe)
    tables = _verdict(run["recipe_specs"], control_at_least, pose_at_most, others)
    before = recipes.recorded(run["recipe_specs"])
    after = recipes.changed(before, {"verdict": tables} | ({"name": name} if name else {}))
    if plain(after.verdict) == plain(before.verdict):
        raise ValueError(f"that is the filter of {before.name} as it is; say a threshold or another change")
    asked = recipes.as_overrides(plain(after))
    cohort = runs.cohort(place, class_name, int(run["samples"]), recipes.resolve(asked["name"], asked["overrides"]))
    missing = {stage: count for stage, count in runs.missing(place.store, cohort).items() if stage in OF_A_SAMPLE}
    if missing:
        what = ", ".join(f"{count} at {stage}" for stage, count in missing.items())
        raise ValueError(f"not all of {class_name} is made under {before.name} ({what} missing): generate it first, then filter")
    report: RunReport = generate.fn(class_name, int(run["samples"]), asked["name"], asked["overrides"])
    was = in_words(run["counts"] or {})
    return Completed(message=f"{class_name}, {after.name}: {in_words(report['counts'])}; {before.name}: {was}", data=report)


@flow(name="filter", flow_run_name="filter {class_name}: {keep}", result_serializer="json")
@in_a_line
def filter_class(
    class_name: Annotated[ClassName, Said("One of the registered classes")],
    keep: Annotated[str, Said(f"What is kept: {ASKED_LIKE}, or recipe: as its recipe says")] = "lose 5%",
    judges: Annotated[
        list[str], Said("Judges that are heard besides the recipe's, by their kinds, such as pose or shape; none: as they are")
    ] = [],  # noqa: B006 - as in flows.train.
    name: Annotated[str, Said("What the decision is called; empty: what is kept, in these words")] = "",
    default: Annotated[bool, Said("Whether `kept` shows this decision from now on: in reports, exports and SQL")] = False,
    recipe: Annotated[
        str, OneOf(lambda: [LAST_RECIPE, *recipes_made()]), Said("Whose images are judged: the recipe that they were made under")
    ] = LAST_RECIPE,
) -> State[Any]:
    """Decide which images of a class are kept, over the scores that are stored: at once, and nothing is painted again.

    The decision is on record under its name, and `dst filter CLASS` lists those there are.
    """
    place = Place.of(Settings(), run=str(flow_run.get_id()))
    place.catalog.database.require_schema()
    made = deciding.decide(
        place,
        class_name,
        keep,
        judges=judges,
        name=name,
        default=default,
        recipe=None if recipe == LAST_RECIPE else recipe,
        by=person(),
    )
    with for_show("the decision"):
        create_markdown_artifact(
            "\n\n".join([made.line, _table(deciding.dropped(place, made))]),
            key=artifact_name(class_name, "filter"),
            description=f"{class_name}: {made.row['name']}",
        )
    shown = "; kept shows it now" if made.row["is_default"] else ""
    return Completed(message=f"{class_name}, {made.row['name']}: {made.line}{shown}", data={**made.row})


@flow(name="export a release", flow_run_name="export {name} as {format}", result_serializer="json")
@in_a_line
def export_release(
    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"),
        Said("The release's name, such as car-v1. Releases never change"),
    ],
    format: Annotated[str, OneOf(lambda: list(FORMATS)), Said("What to write; docs/exports.md describes them")] = "coco",
    class_name: Annotated[OneOrAll, Said("Only this class")] = ALL_CLASSES,
    recipe: Annotated[str, OneOf(lambda: [ONE_RECIPE, *recipes_made()]), Said("Only images of this recipe")] = ONE_RECIPE,
    where: Annotated[
        str, Said("A condition over the samples view; empty: kept = 1 and in_cohort = 1, or the release's own")
    ] = "",
    out: Annotated[str, Said("A new or empty folder; not absolute or empty: in the home folder's exports")] = "",
) -> State[str]:
    """Write samples as a release in a format that other tools load. The folder is complete or absent; killed, it goes on."""
    settings = Settings()
    catalog = Catalog(settings.catalog, settings.store)
    catalog.database.require_schema()
    asked = releasing.condition(
        catalog, "" if class_name == ALL_CLASSES else class_name, "" if recipe == ONE_RECIPE else recipe, where
    )
    folder = settings.root / "exports" / Path(out or f"{name}-{format}").expanduser()
    state = written(name, format, str(folder), asked, return_state=True)
    if not state.is_completed():
        return Failed(message=state.message)
    lines: Any = state.result()
    card = summary(json.loads((folder / CARD).read_bytes()))
    with for_show(f"the release {name}"):
        create_markdown_artifact(
            "\n\n".join([*lines, f"```\n{card}\n```"]), key=artifact_name(name, "release"), description=lines[0]
        )
    return Completed(message=f"{lines[0]}: {folder}", data=str(folder))


@task(name="export", task_run_name="export {name}", cache_policy=NO_CACHE)
@in_a_line
def written(name: str, format: str, folder: str, where: str | None) -> list[str]:
    """Write a release; return lines that say what is in it. A task, so that its progress is shown."""
    return releasing.in_words(releasing.written(Settings(), format, Path(folder), name, where), format)


def _verdict(specs: Mapping[str, Any], control_at_least: float, pose_at_most: float, others: Sequence[str]) -> dict[str, Any]:
    """Return the overrides of the table `verdict`: the two thresholds, then what else was said. Raises ValueError."""
    try:
        tables: dict[str, Any] = tomllib.loads("\n".join(others))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the other changes are no lines of TOML such as: rules.pose.threshold = 2.5 ({error})") from None
    rules = tables.setdefault("rules", {})
    for rule, threshold, unsaid in (("control", control_at_least, -1.0), ("pose", pose_at_most, 0.0)):
        if threshold == unsaid:
            continue
        # A recipe that decides by another rule gets this one besides: what a person asks for by name holds.
        new = {} if rule in specs["verdict"]["rules"] else plain(VerdictSpec().rules[rule])
        if not isinstance(rules.setdefault(rule, new), dict):
            raise ValueError(f"the rule {rule} is given a threshold and taken out; say one of the two")
        rules[rule]["threshold"] = threshold
    return {name: table for name, table in tables.items() if table != {}}


def _plan(row: Mapping[str, Any]) -> str:
    """Return a class's row of a plan as Markdown: a line for each stage, since all in one are too wide for the UI."""
    stages = [{"stage": name, "": row[name]} for name in row if name not in ("class", "samples", "task runs")]
    return f"**{row['class']}**, {row['samples']} samples, {row['task runs']} task runs\n\n{_table(stages)}"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    if not rows:
        return "nothing"
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(str(value).replace("|", "\\|") for value in row.values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
