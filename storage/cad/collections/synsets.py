"""Synsets and class names: WordNet's numbers, as ImageNet and ShapeNet use them.

Enters: `n02690373` (of ImageNet-1k; `imagenet.csv` has WordNet's first lemma of each, two of a name told apart) or `02691156`
(ShapeNet's). Leaves: a class name.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from pathlib import Path

from storage.cad.layouts import SHAPENET
from storage.cad.names import suggestion


@functools.cache
def imagenet() -> Mapping[str, str]:
    """Return synset -> class name, the 1,000 of ImageNet-1k."""
    with open(Path(__file__).with_name("imagenet.csv"), encoding="utf-8", newline="") as file:
        return {row["synset"]: row["class"] for row in csv.DictReader(file)}


def class_of_synset(text: str, taxonomy: Mapping[str, str] | None = None) -> str | None:
    """Return the class a synset names, None for an unknown one; what is no synset at all is taken for a class name.

    taxonomy: ShapeNet's synset -> names with commas, for synsets beyond the 55 of ShapeNetCore.
    """
    synset = text.strip()
    if synset[:1] == "n" and synset[1:].isdigit():
        return imagenet().get(synset)
    if len(synset) == 8 and synset.isdigit():
        named = SHAPENET.get(synset) or (taxonomy or {}).get(synset, "").split(",")[0]
        return suggestion(named) or None
    return suggestion(synset) or None
