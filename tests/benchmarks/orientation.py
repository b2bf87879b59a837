"""How many CAD models that stand or face wrongly are doubted, and how many right ones.

    python -m tests.benchmarks.orientation [--folder ../shared/cad]

Enters: a folder of CAD models whose axes tests/cad/orientations.toml says, and the parametric ones. Leaves: a table on the
terminal: each real model with the axes that would be assumed and with the right ones, then all models in all 24 ways.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.cad import parametric
from models.cad.canonical import canonicalise
from models.cad.orientation import doubts
from models.cad.spec import AXES, CadSpec
from storage.cad.folder import scan
from storage.cad.sidecar import read_orientations
from tasks.intake.model import identify

ORIENTATIONS = Path(__file__).parents[1] / "cad" / "orientations.toml"


def doubted(path: Path, spec: CadSpec) -> list[str]:
    """Return what is said against a source file's axes."""
    made = canonicalise(path, spec)
    with tempfile.TemporaryDirectory() as folder:
        glb = Path(folder) / "model.glb"
        glb.write_bytes(made.glb)
        return doubts(glb, made.canonical_from_source.tolist())


def real(folder: Path) -> Iterator[tuple[str, Path, CadSpec]]:
    """Yield the name, file and right axes of each real CAD model."""
    said = read_orientations(ORIENTATIONS)
    for found in scan(folder):
        right = said.get(identify(found.path))
        if right is not None:
            name = found.path.stem if len(found.path.stem) < 18 else found.path.parent.name
            yield name, found.path, CadSpec(up=str(right.up), front=str(right.front))


def wrong_by(assumed: CadSpec, right: CadSpec) -> str:
    """Return what is wrong with axes: up, front, or nothing."""
    if assumed.up != right.up:
        return "upside down" if assumed.up[1] == right.up[1] else "up"
    if assumed.front != right.front:
        return "front to rear" if assumed.front[1] == right.front[1] else "front"
    return "right"


def everyway(models: list[tuple[str, Path, CadSpec]]) -> None:
    """Print how many are doubted of all models in all 24 ways."""
    there, seen = Counter[str](), Counter[str]()
    for name, path, right in models:
        for up, front in itertools.product(AXES, AXES):
            if up[1] != front[1]:
                kind = wrong_by(CadSpec(up=up, front=front), right)
                said = doubted(path, CadSpec(up=up, front=front))
                there[kind] += 1
                seen[kind] += bool(said)
                if kind == "right" and said:
                    print(f"falsely doubted: {name}: {said[0]}")
    for kind in sorted(there):
        print(f"{kind:14} {seen[kind]:5} of {there[kind]:5} doubted")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[3] / "shared" / "cad")
    parser.add_argument("--seeds", type=int, default=4)
    asked = parser.parse_args()
    models = list(real(asked.folder))
    for name, path, right in models:
        made = canonicalise(path, CadSpec())
        assumed = CadSpec(up=made.facts["up"], front=made.facts["front"])
        print(f"{name:18} assumed {assumed.up} {assumed.front}  wrong: {wrong_by(assumed, right):12} {doubted(path, CadSpec())}")
        print(f"{'':18} right   {right.up} {right.front}{'':22} {doubted(path, right)}")
    everyway(models)
    with tempfile.TemporaryDirectory() as folder:
        made_here = []
        for class_name, seed in itertools.product(parametric.CLASSES, range(asked.seeds)):
            path = Path(folder) / f"{class_name}-{seed}.glb"
            path.write_bytes(parametric.glb(class_name, seed))
            made_here.append((path.stem, path, CadSpec(up="+y", front="+z")))
        everyway(made_here)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
