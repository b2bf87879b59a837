"""Deciding anew: which images of a class are kept, by what a person asks for, over the scores that are stored. Knows no server.

Enters: a class, what is to be kept ("lose 5%"), judges to hear besides. Leaves: a verdict over the present cohort under a name of
its own (the catalog's `decisions`), and, where it is made the default, a `kept` that means it. What a judge has measured once is
not measured again, no image is painted, and every other verdict stays on record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flows import recipes, runs
from models.kinds import BadSpec, meant
from models.verdict.decide import Decision
from models.verdict.kinds import JUDGES
from models.verdict.spec import VerdictSpec, verdict_spec
from models.verdict.wish import ASKED_LIKE, asked
from storage.keys import plain
from storage.report.verdict import in_words
from storage.stages import FILE
from tasks import stages
from tasks.intake import foreign
from tasks.plan import cohort as planning
from tasks.plan.cohort import Cohort, Planned
from tasks.plan.failures import GENERATE, last_run
from tasks.plan.place import Place

log = logging.getLogger("dst")

AS_THE_RECIPE = "recipe"
"""What is asked for by whoever wants the recipe's own rules; also the name of that decision."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A decision and what it came to."""

    row: Mapping[str, Any]
    """Its row in the catalog."""
    values: Mapping[str, Any]
    """What the verdict's record says: kept, dropped, not_judged, reasons, rule, rules, judges."""

    @property
    def line(self) -> str:
        """What it came to, in a line."""
        values = self.values
        return f"{values['kept']} kept, {values['dropped']} dropped, {values['not_judged']} not judged; {values['rule']}"


def judged_run(place: Place, class_name: str, recipe: str | None) -> Mapping[str, Any]:
    """Return the row of the run whose images are judged: the class's last, or its last under a recipe. Raises ValueError."""
    catalog = place.catalog
    known_class(place, class_name)
    if recipe is None:
        run = last_run(catalog, class_name)
    else:
        run = next((row for row in catalog.runs(class_name, kind=GENERATE) if row["recipe"] == recipe), None)
    if run is None:
        made = sorted({row["recipe"] for row in catalog.runs(class_name, kind=GENERATE)})
        under = "" if recipe is None else f" under {recipe}"
        todo = f"it was made under {', '.join(made)}" if made else "generate it first"
        raise ValueError(f'there is no run of "{class_name}"{under}; {todo}')
    return run


def known_class(place: Place, class_name: str) -> None:
    """Raise ValueError, with what may have been meant, where there is no such class."""
    if class_name not in (known := place.catalog.classes()):
        raise ValueError(f'no such class "{class_name}"{meant(class_name, known)}; see: dst cad list')


def decide(
    place: Place,
    class_name: str,
    keep: str,
    *,
    judges: Sequence[str] = (),
    name: str = "",
    default: bool = False,
    recipe: str | None = None,
    by: str,
) -> Outcome:
    """Decide over the present cohort of a class as `keep` asks; return what that came to. Raises ValueError, in one line.

    judges: kinds that are heard besides the recipe's. name: of the decision; empty: what is asked. recipe: that of the class's
    last run, unless it is said.
    """
    run = judged_run(place, class_name, recipe)
    before = recipes.recorded(run["recipe_specs"])
    spec = wanted(before.verdict, keep, judges)
    cohort = present(place, run)
    verdict_key = judged(place, cohort, spec)
    return _noted(place, cohort, verdict_key, spec, keep=keep.strip(), name=name or keep.strip(), default=default, by=by)


def make_default(place: Place, class_name: str, name: str, recipe: str | None, by: str) -> Outcome:
    """Make a decision that there is the one that `kept` shows; it is decided anew, over the cohort of now. Raises ValueError."""
    run = judged_run(place, class_name, recipe)
    rows = {row["name"]: row for row in place.catalog.decisions(class_name, run["recipe"])}
    if name not in rows:
        there = f"; there are: {', '.join(rows)}" if rows else ""
        raise ValueError(f'{class_name} has no decision "{name}"{meant(name, rows)}{there}; say with --keep what is to be kept')
    return _again(place, present(place, run), rows[name], default=True, by=by)


def hear(place: Place, class_name: str, judges: Sequence[str], recipe: str | None, by: str) -> Outcome:
    """Let more judges measure the images of a class; what `kept` shows goes by the rules it went by. Raises ValueError."""
    run = judged_run(place, class_name, recipe)
    standing = place.catalog.default_decision(class_name, run["recipe"])
    said = verdict_spec(standing["verdict"]) if standing else recipes.recorded(run["recipe_specs"]).verdict
    keep = standing["keep"] if standing else AS_THE_RECIPE
    cohort = present(place, run)
    spec = wanted(said, AS_THE_RECIPE, judges)
    verdict_key = judged(place, cohort, spec)
    name = standing["name"] if standing else AS_THE_RECIPE
    return _noted(place, cohort, verdict_key, spec, keep=keep, name=name, default=True, by=by)


def judge_imported(
    place: Place,
    origin: str,
    class_name: str,
    keep: str,
    judges: Sequence[str] = (),
    tell: Callable[[int, int], None] | None = None,
) -> Decision:
    """Let judges decide over images of a class that others made, as over ours; what is taught is taught by its CAD models.

    keep, judges: as of `decide`. Nobody says which controls such images were to obey, so where a judge is needed that reads
    others and none is said, it reads `kcf`. Raises ValueError.
    """
    if keep.strip().lower() == AS_THE_RECIPE:
        raise ValueError(f"imported images have no recipe; ask for {ASKED_LIKE}")
    none = VerdictSpec(judges={}, rules={})
    spec = wanted(none, keep, judges)
    if spec.judges and all(judge.reads for judge in spec.judges.values()):
        spec = wanted(none, keep, ["kcf"])
    readouts: dict[str, bytes] = {}
    models = [row for row in place.catalog.cad_models(class_name) if row["cad_key"]]
    if models:
        recipe = replace(recipes.resolve(next(iter(recipes.RECIPES))), verdict=spec)
        cohort = planning.plan(class_name, recipe, [runs.cad_model(row) for row in models], len(models))
        stage = stages.OVER_A_COHORT["readout"]
        for part, blueprint in stage.blueprints(cohort, ()).items():
            stage.run().fn(place, cohort, part)
            taught = place.store.get("readout", blueprint.key)
            if taught.record.outcome == "made":
                readouts[part] = place.store.read(taught, FILE["readout"])
    return foreign.judge(place, origin, class_name, spec, tell, readouts)


def after_a_run(place: Place, cohort: Cohort) -> Outcome | None:
    """Let the class's default decision decide over the cohort that a run has just left behind; None where it has none."""
    row = place.catalog.default_decision(cohort.class_name, cohort.recipe.name)
    if row is None or not cohort.made(place.store):
        return None
    try:
        made = _again(place, cohort, row, default=True, by=row["decided_by"])
    except BadSpec as error:
        # Made by code that knew other judges: better the recipe's rules on record than a default that is none.
        log.warning(
            'filter  %s  "%s" cannot decide any more (%s): kept shows the recipe\'s rules', cohort.class_name, row["name"], error
        )
        made = _again(
            place,
            cohort,
            {"name": AS_THE_RECIPE, "keep": AS_THE_RECIPE, "verdict": plain(cohort.recipe.verdict)},
            default=True,
            by=row["decided_by"],
        )
    log.info("filter  %s  as %s has decided: %s", cohort.class_name, made.row["name"], made.line)
    return made


def dropped(place: Place, made: Outcome) -> list[dict[str, Any]]:
    """Return what a decision drops: a row for each reason, with how many images, one of them, and what was seen in that."""
    rows = place.catalog.rows(
        "SELECT d.reason, d.words, m.sample_id FROM verdicts d JOIN members m ON m.image_key = d.image_key "
        "WHERE d.verdict_key = :key AND d.kept = 0 AND m.class_name = :name AND m.recipe = :recipe ORDER BY m.sample_id",
        key=made.row["verdict_key"],
        name=made.row["class_name"],
        recipe=made.row["recipe"],
    )
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        # By reason, and where one rule hears several judges by the judge that weighed most.
        found.setdefault(f"{in_words(row['reason'])} ({(row['words'] or '').split(':')[0]})", []).append(row)
    return [
        {"dropped for": reason, "images": len(those), "such as": those[0]["sample_id"], "where": those[0]["words"] or ""}
        for reason, those in sorted(found.items(), key=lambda item: -len(item[1]))
    ]


def wanted(said: VerdictSpec, keep: str, judges: Sequence[str] = ()) -> VerdictSpec:
    """Return a recipe's judges, and those of `judges` and whichever a rule needs besides, with the rules that `keep` asks for.

    Rules of the recipe over the same score keep their name and reason. Raises ValueError.
    """
    heard = dict(said.judges)
    kinds = {judge.kind for judge in heard.values()}
    for kind in judges:
        if kind not in kinds:
            heard[kind] = JUDGES.read({"kind": kind}, f"the judge {kind}").pinned()
    if keep.strip().lower() == AS_THE_RECIPE:
        return VerdictSpec(judges=heard, rules=said.rules)
    rules = {}
    for name, rule in asked(keep).items():
        giver = next((kind for kind in JUDGES.names if rule.score in JUDGES.of(kind).scores), None)
        if giver is not None and giver not in {judge.kind for judge in heard.values()}:
            heard[giver] = JUDGES.read({"kind": giver}, f"the judge {giver}").pinned()
        like = next(
            (other for other in said.rules if (said.rules[other].score, said.rules[other].kind) == (rule.score, rule.kind)), ""
        )
        rules[like or name] = replace(rule, reason=said.rules[like].reason) if like else rule
    return VerdictSpec(judges=heard, rules=rules)


def present(place: Place, run: Mapping[str, Any]) -> Cohort:
    """Return the cohort that a run left behind, with the CAD models it had then. Raises ValueError where it cannot be had."""
    catalog, class_name = place.catalog, run["class_name"]
    members = catalog.present_members(class_name, run["recipe"])
    cad_ids = {row["cad_id"] for row in members}
    recipe, captions = foreign.pinned(catalog, class_name, recipes.recorded(run["recipe_specs"]))
    models = [row for row in catalog.cad_models(class_name, status=None) if row["cad_id"] in cad_ids and row["cad_key"]]
    if not members or not models:
        raise ValueError(f"there is no image of {class_name} under {run['recipe']} to decide over; generate it first")
    cohort = planning.plan(class_name, recipe, [runs.cad_model(row, captions) for row in models], len(members))
    mine = {planned.key("image") for planned in cohort.made(place.store)}
    theirs = {row["image_key"] for row in members if row["status"] == "made"}
    if mine != theirs or not mine:
        raise ValueError(
            f"what there is of {class_name} under {run['recipe']} is not what would be made now "
            f"({len(theirs)} images, {len(mine & theirs)} of them the same): generate it first, then filter"
        )
    return cohort


def judged(place: Place, cohort: Cohort, spec: VerdictSpec) -> str:
    """Let judges and rules of `spec` decide over a cohort, as far as they have not yet; return the key of their verdict."""
    other = replace(cohort, recipe=replace(cohort.recipe, verdict=spec))
    if why := runs.cannot_judge(place, other):
        raise ValueError(why)
    for stage in stages.OF_A_COHORT:
        task = stage.run()
        for part in stage.parts(other.recipe):
            task.fn(place, other, part)
    made: Sequence[Planned] = other.made(place.store)
    keys = other.judged(made)
    place.catalog.index(place.store.get(stage, key) for (stage, _), key in keys.items())
    return keys["verdict", ""]


def _again(place: Place, cohort: Cohort, row: Mapping[str, Any], default: bool, by: str) -> Outcome:
    spec = verdict_spec(row["verdict"], f"decision {row['name']}")
    verdict_key = judged(place, cohort, spec)
    return _noted(place, cohort, verdict_key, spec, keep=row["keep"], name=row["name"], default=default, by=by)


def _noted(
    place: Place, cohort: Cohort, verdict_key: str, spec: VerdictSpec, *, keep: str, name: str, default: bool, by: str
) -> Outcome:
    """Put a verdict on record as a decision; return that and what it came to."""
    store = place.store
    values = store.get("verdict", verdict_key).record.values
    row = {
        "class_name": cohort.class_name,
        "recipe": cohort.recipe.name,
        "name": name,
        "verdict_key": verdict_key,
        "is_default": default,
        "keep": keep,
        "verdict": plain(spec),
        "expected": next((rule["expected"] for rule in values["rules"] if "expected" in rule), None),
    }
    noted = place.catalog.add_decision(row, [planned.key("image") for planned in cohort.made(store)], by=by)
    return Outcome(row=noted, values=values)
