"""What the judge `pose` costs and finds: python -m tests.benchmarks.pose CLASS [CAD_MODELS] [--painted IMAGES] [--turned]

Enters: parametric CAD models of a class, held out from all training. Leaves the processor time of teaching, and how well labels
that are wrong by the angles below are told from right ones (AUROC): on renders of other views in other looks and, with
--painted, on images of the embedded generator. With --turned the third CAD model is turned, once by half a turn and once by a
quarter, and what the others say of it is told.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from models.evaluation import cases, sight
from models.evaluation.filters.sets import Parametric
from models.evaluation.painting import Painter
from models.image.controlnet import ControlNetSpec
from models.reading.pose import PoseReadout
from models.verdict.kinds import JUDGES
from models.verdict.pose import Pose, PoseReadoutSpec, PoseSpec
from models.verdict.readout import facts_of
from tests.verdict.seen import Seen

FIRST_SEED = 60_000
TURNS = {"180": (180.0,), "60 to 180": (-70.0, 100.0, -140.0), "15 to 30": (-22.0, 22.0)}
"""Wrong by so many degrees of azimuth."""


def teach(models: list[Parametric]) -> bytes:
    """Return the readout of a class, and say what it took."""
    began, worked = time.monotonic(), time.process_time()
    taught = PoseReadout(PoseReadoutSpec(), threads=1).teach(models)
    spent = time.process_time() - worked
    print(
        f"  taught in {spent:.0f} s of one core ({time.monotonic() - began:.0f} s of wall): {facts_of(taught)['words']}",
        flush=True,
    )
    return taught


def told(judge: Pose, name: str, images: list[Seen]) -> None:
    """Print how well wrong labels are found among the images."""
    good = judge.judge(images).scores["pose"]
    shown = []
    for kind, turns in TURNS.items():
        bad = []
        for by in turns:
            labels = [{**one.annotation, "azimuth_deg": one.annotation["azimuth_deg"] + by} for one in images]
            wrong = [replace(one, annotation=label) for one, label in zip(images, labels, strict=True)]
            bad.append(judge.judge(wrong).scores["pose"])
        values = np.concatenate([good, *bad])
        shown.append(f"{kind} {roc_auc_score([0] * len(good) + [1] * (len(values) - len(good)), values):.3f}")
    print(f"  {name:<8} {len(images)} images, AUROC of labels wrong by  {'   '.join(shown)}", flush=True)


def main() -> None:
    """Teach, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("class_name")
    parser.add_argument("cad_models", type=int, nargs="?", default=10)
    parser.add_argument("--painted", type=int, default=0, help="images to paint; half a second each on two free cores")
    parser.add_argument("--turned", action="store_true", help="also turn a CAD model, and ask the others")
    asked = parser.parse_args()
    models = [Parametric(class_name=asked.class_name, seed=FIRST_SEED + i) for i in range(asked.cad_models)]
    print(f"{asked.class_name}, {asked.cad_models} CAD models", flush=True)
    judge: Pose = JUDGES.load(PoseSpec(), device="cpu", threads=1, readout=teach(models))
    views = [
        case
        for one in models
        for case in cases.file_cases(one.glb(), one.class_name, one.cad_id, one.cad_id, one.symmetry, -(-48 // len(models)))
    ]

    def seen(pictures: list[np.ndarray], of: list[cases.Case]) -> list[Seen]:
        made = [
            Seen.of(picture, case.pose, case.sample.cad_id, box=list(sight.box_of(case.mask)))
            for picture, case in zip(pictures, of, strict=True)
        ]
        return [replace(one, symmetry=case.symmetry) for one, case in zip(made, of, strict=True)]

    told(judge, "renders", seen([case.rgb for case in views], views))
    if asked.painted:
        with tempfile.TemporaryDirectory(prefix="dst-pose-") as folder:
            chosen = views[:: max(1, len(views) // asked.painted)]
            painted = Painter(Path(folder), threads=1).paint(ControlNetSpec(), chosen)
        told(judge, "painted", seen(painted.pictures, chosen))
    for by in (180.0, 90.0) if asked.turned else ():
        print(f"  the third CAD model turned by {by:.0f}: {models[2].cad_id}")
        teach([replace(one, turned=by * (i == 2)) for i, one in enumerate(models)])


if __name__ == "__main__":
    main()
