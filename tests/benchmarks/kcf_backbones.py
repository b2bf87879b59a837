"""The light backbones of the judge `kcf` side by side: python -m tests.benchmarks.kcf_backbones [CLASS ...]

Enters: renders of six CAD models of a class, twelve views of each, an eighth of them annotated wrong (turned by 180 degrees,
exchanged, off by 30 to 60 degrees, in turn). Leaves a line for each class and backbone: how well each kind is told from good
images (AUROC over eight sets), and the processor time for a set. The bundled readouts learned the embedded generator's classes;
a boat, say, they never saw.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np

from models.evaluation.filters import sets
from models.evaluation.filters.spec import FiltersSpec
from models.evaluation.sight import box_of
from models.verdict.crop import crop
from models.verdict.kcf import LIGHT, Kcf, KcfSpec, Labelled

KINDS = ("good", "turned", "exchanged", "30 to 60")
SETS = 8


def given(class_name: str) -> Labelled:
    """Return the views of a class, rightly annotated."""
    views = sets.views(FiltersSpec(classes=(class_name,), cad_models=6, views=12), class_name)
    return Labelled(
        images=np.stack([crop(case.rgb, box_of(case.mask), 96) for case in views]),
        poses=np.array([case.pose for case in views]),
        cad_ids=[case.sample.cad_id for case in views],
        symmetry=np.array([case.symmetry for case in views]),
    )


def lines(class_name: str) -> Iterator[str]:
    """Yield the lines of a class."""
    right = given(class_name)
    for backbone in LIGHT:
        scores, kinds, began = [], [], time.process_time()
        for seed in range(SETS):
            rng, said, kind = np.random.default_rng(seed), right.poses.copy(), np.zeros(len(right.poses), np.int64)
            for place, row in enumerate(rng.choice(len(said), len(said) // 8, replace=False)):
                kind[row] = 1 + place % 3
                if kind[row] == 2:
                    said[row] = right.poses[rng.integers(len(said))]
                else:
                    turn = 180.0 if kind[row] == 1 else rng.choice([-1.0, 1.0]) * rng.uniform(30.0, 60.0)
                    said[row, 0] = (said[row, 0] + turn) % 360.0
            set_of = Labelled(images=right.images, poses=said, cad_ids=right.cad_ids, symmetry=right.symmetry)
            found = Kcf(KcfSpec(backbone=backbone)).measure(set_of).scores["kcf"]
            scores.append(found[np.isfinite(found)])
            kinds.append(kind[np.isfinite(found)])
        values, wrong = np.concatenate(scores), np.concatenate(kinds)
        good = values[wrong == 0]
        told = ", ".join(f"{KINDS[kind]} {(values[wrong == kind][:, None] > good[None]).mean():.2f}" for kind in (1, 2, 3))
        yield f"{class_name}, {backbone}: {told}; {(time.process_time() - began) / SETS:.2f} s for {len(right.images)} images"


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ["car", "chair", "teapot", "boat"]:
        for line in lines(wanted):
            print(line, flush=True)
