"""What the judge `text` tells apart: python -m tests.benchmarks.text FOLDER [CLASS ...]

Enters: painted views of five held-out CAD models of each class, ten of each (kept in FOLDER). Leaves
a line for each score: how well an image under another class's name, or under another colour than it was painted in, is told from
the image under its own words (AUROC, all classes together), and how many images each is read from.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np

from models.caption import vocabulary
from models.evaluation.filters import sets
from models.evaluation.filters.planted import Shown
from models.evaluation.filters.sets import Pictured
from models.evaluation.filters.spec import FiltersSpec
from models.evaluation.painting import Painter
from models.verdict.text import Text, TextSpec
from tests.benchmarks.shape import sound


def recoloured(shown: Shown, rng: np.random.Generator) -> Shown:
    """Return the same picture whose caption says another colour."""
    said = shown.case.words["colour"]
    other = str(rng.choice([colour for colour in vocabulary.COLOURS if colour != said]))
    return dataclasses.replace(shown, case=dataclasses.replace(shown.case, prompt=shown.case.prompt.replace(said, other)))


def main(folder: Path, classes: list[str]) -> None:
    """Print the lines."""
    from sklearn.metrics import roc_auc_score

    rng, painter = np.random.default_rng(0), Painter(folder, threads=1)
    spec = FiltersSpec(classes=tuple(classes), cad_models=5, views=10)
    right = {name: sound(spec, name, painter) for name in classes}
    sources = {name: {one.cad_id: one for one in sets.sources(spec, name)} for name in classes}

    def pictured(name: str, some: list[Shown]) -> list[Pictured]:
        return [Pictured(shown=one, source=sources[name][one.case.sample.cad_id]) for one in some]

    asked: dict[str, list[Pictured]] = {"own words": [], "class": [], "colour": []}
    for place, name in enumerate(classes):
        # The next class's picture at this class's annotation, cut where that picture's object is.
        others = right[classes[(place + 1) % len(classes)]]
        swapped = [
            dataclasses.replace(one, picture=other.picture, case=dataclasses.replace(one.case, mask=other.case.mask))
            for one, other in zip(right[name], others, strict=False)
        ]
        asked["own words"] += pictured(name, right[name])
        asked["class"] += pictured(name, swapped)
        asked["colour"] += pictured(name, [recoloured(one, rng) for one in right[name]])
    judged = {kind: Text(TextSpec(), threads=1).judge(some).scores for kind, some in asked.items()}
    for kind, scores in (("class", ("text", "text_class")), ("colour", ("text", "text_colour"))):
        for score in scores:
            good, wrong = (judged[which][score][np.isfinite(judged[which][score])] for which in ("own words", kind))
            auroc = roc_auc_score(np.r_[np.zeros(len(good)), np.ones(len(wrong))], -np.r_[good, wrong])
            print(f"another {kind}, {score}: {auroc:.3f} of {len(good)} + {len(wrong)} images", flush=True)


if __name__ == "__main__":
    where, *wanted = sys.argv[1:]
    main(Path(where), wanted or ["car", "chair", "teapot"])
