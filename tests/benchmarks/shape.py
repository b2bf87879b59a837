"""What the judges `shape` and `text` find, kind by kind: python -m tests.benchmarks.shape FOLDER [CLASS ...]

Enters: painted views of five held-out CAD models of a class, ten of each (kept in FOLDER), of which another class's are planted
too. Leaves for each class a line of what teaching took, and for each score how well every kind of failure is told from sound
images (AUROC). A class that the embedded generator never learned is shown as rendered. Two minutes a class on one core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.cad.parametric import TRAINED_CLASSES
from models.evaluation.filters import planted, sets
from models.evaluation.filters.planted import Shown
from models.evaluation.filters.sets import Pictured
from models.evaluation.filters.spec import FiltersSpec
from models.evaluation.painting import Painter
from models.verdict.readout import facts_of
from models.verdict.shape import Shape, ShapeSpec
from models.verdict.shape_twins import TwinsReadout
from models.verdict.text import Text, TextSpec

KINDS = (*planted.EXCHANGES, *planted.PIXELS, *planted.LABELS)


def sound(spec: FiltersSpec, class_name: str, painter: Painter) -> list[Shown]:
    """Return the views of a class as the generator paints them."""
    asked = sets.views(spec, class_name)
    if class_name not in TRAINED_CLASSES:
        return [Shown(case=case, picture=case.rgb) for case in asked]
    pictures = sets.paint(painter, asked, class_name)
    return [Shown(case=case, picture=picture) for case, picture in zip(asked, pictures, strict=True)]


def lines(class_name: str, painter: Painter) -> Iterator[str]:
    """Yield the lines of a class."""
    from sklearn.metrics import roc_auc_score

    other = "teapot" if class_name != "teapot" else "car"
    spec = FiltersSpec(classes=(class_name, other), cad_models=5, views=10)
    sources = {source.cad_id: source for source in sets.sources(spec, class_name)}
    good, beside = sound(spec, class_name, painter), sound(spec, other, painter)
    failed = {kind: [one for one in planted.plant([kind], good, 0.99, 0, beside) if one.failure] for kind in KINDS}
    every = [*good, *(one for some in failed.values() for one in some)]
    evidence = [Pictured(shown=one, source=sources[one.case.sample.cad_id]) for one in every]
    began = time.process_time()
    taught = TwinsReadout(ShapeSpec().readout, threads=1).teach(list(sources.values()))
    spent, began = time.process_time() - began, time.process_time()
    scores = dict(Shape(ShapeSpec(), threads=1, readout=taught).judge(evidence).scores)
    judged = time.process_time() - began
    scores |= Text(TextSpec(), threads=1).judge(evidence).scores
    yield (
        f"{class_name}: {facts_of(taught)['words']} in {spent:.0f} s of one core, skill {facts_of(taught)['skill']:.3f}; "
        f"{len(every)} images judged in {judged:.0f} s"
    )
    kinds = np.array([one.failure for one in every])
    for name, values in scores.items():
        told = {}
        for kind in KINDS:
            rows = ((kinds == "") | (kinds == kind)) & ~np.isnan(values)
            if (kinds[rows] == kind).any() and (kinds[rows] == "").any():
                told[kind] = roc_auc_score(kinds[rows] == kind, -values[rows])
        yield f"  {name}: " + ", ".join(f"{kind} {value:.3f}" for kind, value in told.items())


if __name__ == "__main__":
    folder, *classes = sys.argv[1:]
    for wanted in classes or ["airplane", "car", "chair", "boat"]:
        for line in lines(wanted, Painter(Path(folder), threads=1)):
            print(line, flush=True)
