"""Where known collections put things: what a path says about class, orientation and name.

ShapeNet v2: `<synset>/<uid>/models/model_normalized.obj`, +y up, front -z. OmniObject3D: `<category>/<object>/Scan/Scan.obj`.
Objaverse: `<uid>.glb`, glTF's own convention. (3D-DST, section 3.1, names these collections.)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SHAPENET = {
    "02691156": "airplane", "02747177": "trash bin", "02773838": "bag", "02801938": "basket", "02808440": "bathtub",
    "02818832": "bed", "02828884": "bench", "02843684": "birdhouse", "02871439": "bookshelf", "02876657": "bottle",
    "02880940": "bowl", "02924116": "bus", "02933112": "cabinet", "02942699": "camera", "02946921": "can", "02954340": "cap",
    "02958343": "car", "02992529": "cellphone", "03001627": "chair", "03046257": "clock", "03085013": "keyboard",
    "03207941": "dishwasher", "03211117": "display", "03261776": "earphone", "03325088": "faucet", "03337140": "file cabinet",
    "03467517": "guitar", "03513137": "helmet", "03593526": "jar", "03624134": "knife", "03636649": "lamp", "03642806": "laptop",
    "03691459": "loudspeaker", "03710193": "mailbox", "03759954": "microphone", "03761084": "microwave", "03790512": "motorbike",
    "03797390": "mug", "03928116": "piano", "03938244": "pillow", "03948459": "pistol", "03991062": "flowerpot",
    "04004475": "printer", "04074963": "remote", "04090263": "rifle", "04099429": "rocket", "04225987": "skateboard",
    "04256520": "sofa", "04330267": "stove", "04379243": "table", "04401088": "telephone", "04460130": "tower",
    "04468005": "train", "04530566": "vessel", "04554684": "washer",
}  # fmt: skip
"""Synset -> class name, the 55 of ShapeNetCore."""

SHAPENETS = "ShapeNet's convention"

_SAY_NOTHING = {"model", "models", "model_normalized", "mesh", "meshes", "scan", "scene", "source", "object", "textured"}


@dataclass(frozen=True)
class Orientation:
    """A collection's own convention."""

    up: str
    front: str
    whose: str


def class_of_folder(name: str) -> str:
    """Return the class that a folder of this name holds: a synset's class, else the name itself."""
    return SHAPENET.get(name, name)


def orientation_of(path: Path) -> Orientation | None:
    """Return the convention of the collection that a path belongs to, if it is one with a convention of its own."""
    parts = path.parts
    if len(parts) >= 4 and parts[-2:] == ("models", "model_normalized.obj") and parts[-4] in SHAPENET:
        return Orientation("+y", "-z", SHAPENETS)
    return None


def name_of(path: Path) -> str:
    """Return what to call a model: its file's name, or the first folder above that says something."""
    for name in (path.stem, *(folder.name for folder in list(path.parents)[:3])):
        if name and name.lower() not in _SAY_NOTHING:
            return name
    return path.stem
