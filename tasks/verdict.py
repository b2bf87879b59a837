"""The verdict task: which images are kept, and why the others are not.

Enters: the scores that every judge gave to a cohort's images. Leaves: for each image kept, dropped with a reason, or not judged,
as the recipe's rules decide (3D-DST section 3.4). Nothing here looks at a picture: another threshold is another verdict over the
same scores.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.verdict.decide import decide, why
from tasks import stages
from tasks.caching import cohort_task
from tasks.plan.cohort import Cohort, Planned
from tasks.plan.place import Place
from tasks.score import by_image
from tasks.shard import Finished, StageReport, fill_cohort

log = logging.getLogger("dst")


@cohort_task("verdict", "verdict {cohort.class_name}")
def verdict(place: Place, cohort: Cohort, part: str, *after: Any) -> StageReport:
    """Decide over every image of the cohort. What was decided before under the same key is kept."""
    store = place.store

    def make(made: Sequence[Planned], blueprint: stages.Blueprint) -> Finished:
        began = time.monotonic()
        scores = {judge: store.get("score", key) for judge, key in blueprint.inputs["scores"].items()}
        judges = {judge: artifact.record.values for judge, artifact in scores.items()}
        values, rows = _decided(place, cohort, made, judges, by_image(store, scores.values()))
        log.info(
            "verdict %s  %d kept  %d dropped  %d not judged  %.1f s",
            cohort.class_name,
            values["kept"],
            values["dropped"],
            values["not_judged"],
            time.monotonic() - began,
        )
        text = json.dumps(rows, indent=1, sort_keys=True, allow_nan=False)
        return blueprint.record(values=values), {"verdicts.json": text.encode()}

    return fill_cohort("verdict", part, cohort, place, make)


def _decided(
    place: Place,
    cohort: Cohort,
    made: Sequence[Planned],
    judges: Mapping[str, Any],
    said_of: Mapping[str, Mapping[str, float | None]],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what the rules make of the cohort as a whole, and of each image."""
    found = [said_of[planned.key("image")] for planned in made]
    names = list(dict.fromkeys(name for row in found for name in row))
    columns = {name: np.array([row.get(name) for row in found], np.float64) for name in names}
    said = cohort.recipe.verdict
    decision = decide(columns, said.rules, len(made))

    def words(i: int) -> str | None:
        if (rule := decision.failed[i]) is None:
            return None
        annotation = place.store.get("render", made[i].key("render")).record.values
        return why(said.rules[rule], said.judges, found[i], annotation)

    rows = [
        {
            "sample_id": str(planned.sample),
            "image_key": planned.key("image"),
            "kept": decision.kept[i],
            "reason": decision.reasons[i],
            "words": words(i),
            "scores": dict(found[i]),
        }
        for i, planned in enumerate(made)
    ]
    values = {
        "kept": decision.kept.count(True),
        "dropped": decision.kept.count(False),
        "not_judged": decision.kept.count(None),
        "reasons": dict(sorted(Counter(reason for reason in decision.reasons if reason).items())),
        "rule": decision.words,
        "rules": list(decision.rules),
        "judges": dict(judges),
    }
    return values, rows
