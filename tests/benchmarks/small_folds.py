"""What the judge `kcf` makes of few images: python -m tests.benchmarks.small_folds [SETS]

Enters: cast cars, an eighth of them annotated wrong (turned by 180 degrees, exchanged, off by 30 to 60 degrees, in turn). Leaves
a line for each size of a set: how well each kind is told from good images (AUROC), and what the recipes' rule drops. SETS of each
size, 40 unless said, fewer of large ones; six minutes on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.verdict.kcf import Kcf, KcfSpec
from models.verdict.spec import POSE_THRESHOLD
from tests.verdict.cars import Set, cars, labelled

SIZES = ((6, 4), (8, 3), (8, 5), (12, 4), (20, 5), (40, 8))
"""(images of a CAD model, CAD models)."""
KINDS = ("good", "turned", "exchanged", "30 to 60")


def planted(given: Set, views: int, models: int, seed: int) -> tuple[Set, NDArray[np.int64], NDArray[np.float64]]:
    """Return a set of so many CAD models and views, the kind of each label (a place in KINDS), and the true poses."""
    images, poses, cad_ids = given
    names, rng = np.array(cad_ids), np.random.default_rng([views, models, seed])
    chosen = rng.choice(sorted(set(cad_ids)), models, replace=False)
    rows = np.concatenate([rng.choice(np.flatnonzero(names == name), views, replace=False) for name in chosen])
    said, kinds = poses[rows].copy(), np.zeros(len(rows), np.int64)
    for place, row in enumerate(rng.choice(len(rows), max(3, round(0.12 * len(rows))), replace=False)):
        kinds[row] = 1 + place % 3
        if kinds[row] == 2:
            said[row] = poses[rng.choice(rows)]
        else:
            turn = 180.0 if kinds[row] == 1 else rng.choice([-1, 1]) * rng.uniform(30, 60)
            said[row, 0] = (said[row, 0] + turn) % 360
    return (images[rows], said, names[rows].tolist()), kinds, poses[rows]


def lines(sets: int) -> Iterator[str]:
    """Yield the table, a line for each size."""
    given = cars(24, 40)
    kinds_of_wrong = ", ".join(KINDS[1:])
    yield f"images x CAD models | AUROC {kinds_of_wrong} | above {POSE_THRESHOLD}: good, good from below, {kinds_of_wrong}"
    for views, models in SIZES:
        found: list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]] = []
        for seed in range(max(1, sets * 24 // (views * models) if views * models > 100 else sets)):
            labels, kinds, true = planted(given, views, models, seed)
            scores = Kcf(KcfSpec()).measure(labelled(labels)).scores["kcf"]
            judged = np.isfinite(scores)
            found.append((scores[judged], kinds[judged], true[judged, 1]))
        scores, kinds, raised = (np.concatenate(column) for column in zip(*found, strict=True))
        good = scores[kinds == 0]
        auroc = ", ".join(f"{(scores[kinds == kind][:, None] > good[None]).mean():.2f}" for kind in (1, 2, 3))
        above = [(scores[chosen] > POSE_THRESHOLD).mean() for chosen in (kinds == 0, (kinds == 0) & (raised < 0))]
        above += [(scores[kinds == kind] > POSE_THRESHOLD).mean() for kind in (1, 2, 3)]
        yield f"{views} x {models} | {auroc} | {', '.join(f'{share:.0%}' for share in above)}"


if __name__ == "__main__":
    for line in lines(int(sys.argv[1]) if len(sys.argv) > 1 else 40):
        print(line, flush=True)
