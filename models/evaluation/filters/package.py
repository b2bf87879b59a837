"""The benchmark as a folder for others: images, annotations, planted truth and a scoring function, with a card.

Enters: sets, what the panel says, figures. Leaves: the files of one set at a time, and those of the whole.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.evaluation.filters import score
from models.evaluation.filters.card import WORDS, tables
from models.evaluation.filters.sets import FilterSet
from models.evaluation.filters.table import images_of

SCORE = "score.py"


def folder_of(made: FilterSet) -> str:
    """Return where a set's files lie in the package."""
    return f"sets/{made.name.replace(' ', '-').replace('%', 'percent')}"


def files(made: FilterSet) -> Iterator[tuple[str, bytes]]:
    """Yield the files of one set: images, what they were to obey, annotations, the CAD models as they stand."""
    folder, rows = folder_of(made), []
    for index, image in enumerate(made.evidence()):
        name = f"{index:04d}"
        yield f"{folder}/images/{name}.png", _png(image.image())
        yield f"{folder}/controls/{name}.png", _png(image.control("canny"))
        rows.append(
            {
                "image": f"{name}.png",
                "name": image.shown.name,
                "cad_id": image.sample.cad_id,
                "prompt": image.caption,
                "symmetry": image.symmetry,
                **image.annotation,
            }
        )
    yield f"{folder}/annotations.json", (json.dumps(rows, indent=1) + "\n").encode()
    for source in made.sources:
        yield f"{folder}/cad/{source.cad_id}.glb", source.glb()


def whole(made: Sequence[FilterSet], own: Mapping[str, str], figures: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the package itself: truth, scoring function, figures, card."""
    truth = images_of(made, own)
    yield "truth.csv", _csv(truth)
    yield SCORE, Path(score.__file__).read_bytes()
    yield "figures.json", (json.dumps(figures, indent=1) + "\n").encode()
    yield "README.md", _card(made, truth, figures).encode()


def _card(made: Sequence[FilterSet], truth: Sequence[Mapping[str, str]], figures: Mapping[str, Any]) -> str:
    kinds = {image["failure"] for image in truth}
    planted = "\n".join(f"- `{kind}`: {words}" for kind, words in WORDS.items() if kind in kinds)
    sets = "\n".join(
        f"- `{folder_of(one)}`: {figures['sets'][one.name]['images']} images, {figures['sets'][one.name]['sound']} of them sound"
        for one in made
    )
    classes = len({one.class_name for one in made})
    return f"""# Filters: planted failures

{len(truth)} generated images of {classes} classes, in which failures were planted whose kind and place are known: for finding out
what a filter of generated images is worth. Made by 3D-DST (`dst evaluate filter --export`), from its own parametric CAD models
and its own generator; licence MIT, as the project. Spec: `{json.dumps(figures["spec"])}`.

## What is in it

{sets}

In each: `images/`, `controls/` (the edges that the generator was told to draw), `annotations.json` (for each image: name, CAD
model, prompt, azimuth_deg, elevation_deg and inplane_deg, box in pixels, rotational symmetry about the upright axis), and
`cad/` (the CAD models as GLB, as they stand in the set). `truth.csv` has a row for each image: set, class, part, image, name,
viewpoint, failure. A filter may look at everything but `truth.csv`; each set is judged by itself.

A right-handed frame for each class, +z up, the front faces -y; azimuth 0 sees the front, 90 the object's own left.

## What failed

{planted}

`own` and `doubtful` were not planted: a panel of readouts sees another pose or class in the first, and is not of one mind about
the second, which count neither way.

## Scoring

Write the columns set, image and score, high where an image is suspect, into a CSV file; an image that was not judged has no row.

```
python {SCORE} truth.csv scores.csv
```

It needs numpy alone, and prints AUROC with a 95 % interval, average precision, precision where 90 % of the sound images are kept
and the share of sound images lost where 90 % of the failures are removed: over all, by kind, viewpoint, class and share.

## Figures of the project's own filters

{tables(figures)}
"""


def _png(picture: Any) -> bytes:
    import cv2

    done, data = cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)
    assert done
    return bytes(data.tobytes())


def _csv(rows: Sequence[Mapping[str, str]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()
