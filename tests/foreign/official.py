"""A data set as the official code writes it: images, annotations as numpy pickles, prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

CAR = "n02958343"
"""A folder's name like a synset's; ImageNet-1k has no plain car, so imports say the class."""


def annotate(path: Path, **said: Any) -> Path:
    """Write one annotation with the keys of the official code, as numpy itself pickles them."""
    pose = {
        "theta": np.float64(np.pi / 2),
        "phi": np.float64(np.pi / 3),
        "dist": 1.5,
        "camera_rotation": 0.0,
        "principal": np.array([256, 256]),
        "source": "shapenet",
        "shape_id": "m1",
        "rendering_scale": 1.0,
        "azimuth": 0.0,
        "elevation": 0.0,
        "pose_sampling": 3,
        "strength": 1,
        "matrix_world": np.eye(4),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, pose | said, allow_pickle=True)  # type: ignore[arg-type]
    return path


def write(
    root: Path,
    pictures: NDArray[np.uint8],
    poses: NDArray[np.float64],
    models: list[str],
    synset: str = "n02814533",
    prompts: bool = True,
) -> Path:
    """Write pictures (N, H, W, 3) with canonical poses (azimuth, elevation, in-plane) and their models' names."""
    said: dict[str, dict[str, str]] = {}
    counts: dict[str, int] = {}
    for picture, pose, model in zip(pictures, poses, models, strict=True):
        number = counts[model] = counts.get(model, -1) + 1
        folder = root / "train" / synset / model
        (folder / "image_dst").mkdir(parents=True, exist_ok=True)
        (folder / "image_render").mkdir(exist_ok=True)
        name = f"{number:03d}_00"
        cv2.imwrite(str(folder / "image_dst" / f"{name}.png"), picture[..., ::-1])
        (folder / "image_render" / f"{number:03d}.png").write_bytes(b"a render, which is no generated image")
        annotate(folder / "annotation" / f"{number:03d}.npy", theta=np.radians(pose[0] + 90), phi=np.radians(90 - pose[1]))
        said.setdefault(model, {})[name] = f"a photo of {model}, number {number}"
    if prompts:
        (root / "train" / synset / "prompts.json").write_text(json.dumps(said))
    return root
