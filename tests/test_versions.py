"""Golden outputs: a stage that gives something else for the same spec must raise its VERSION.

When a test here turns red and the change is meant: raise the stage's VERSION, then `python -m tests.test_versions` writes the
new golden outputs beside the old version's place.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from models.cad import spec as cad
from models.caption.grammar import GrammarSpec
from models.caption.kinds import CAPTIONERS
from models.caption.protocol import CaptionRequest
from models.control.canny import Canny, CannySpec
from models.control.kinds import CONTROLS
from models.control.protocol import View
from models.image.controlnet import ControlNetSpec
from models.image.finished import FinishedRenderSpec
from models.image.kinds import GENERATORS
from models.image.protocol import ImageRequest
from models.render import spec as render
from models.sample import SampleId, ViewId
from models.verdict import spec as verdict
from models.verdict.decide import decide
from models.verdict.kcf import Kcf, KcfSpec, Labelled
from storage.keys import digest

GOLDEN = Path(__file__).parent / "golden" / "stages.json"


def _filled(cells: int) -> np.ndarray[Any, Any]:
    """A bar across the cube, and a thin wall before it."""
    grid = np.zeros((cells,) * 3, bool)
    grid[:, cells // 2 : cells // 2 + 3, cells // 4 : cells // 2] = True
    grid[cells // 3 : cells // 2, 1, :] = True
    return grid


def canonical_glbs() -> list[str]:
    from models.cad import parametric
    from models.cad.canonical import canonicalise

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chair.glb"
        path.write_bytes(parametric.glb("chair", 7))
        made = canonicalise(path, cad.CadSpec(up="+z", front="-x"))
        return [digest(made.glb), *(f"{value:.6f}" for value in np.asarray(made.canonical_from_source).ravel())]


def controls(kind: str) -> list[str]:
    y, x = np.mgrid[0:96, 0:96]
    mask = ((np.abs(x - 40) < 25) & (np.abs(y - 50) < 30)).astype(np.uint8) * 255
    depth = np.where(mask > 0, 1.2 + 0.004 * np.abs(x - 40), 0).astype(np.float32)
    slope = np.where(x < 40, -0.6, 0.6)
    normal = np.stack([slope, 0 * slope, -np.sqrt(1 - slope**2)], axis=2)
    normal_picture = np.where(mask[..., None] > 0, np.rint(normal * 127.5 + 127.5), 0).astype(np.uint8)
    shade = np.where(x < 40, 15, 180).astype(np.uint8)
    rgba = np.dstack([shade, shade // 2, shade, mask])
    K = np.array([[105.0, 0, 47.5], [0, 105.0, 47.5], [0, 0, 1]])
    R, t = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]), np.array([0.0, 0.0, 1.5])
    view = View(rgba=rgba, mask=mask, depth=depth, normal=normal_picture, K=K, R=R, t=t, occupied=_filled)
    return [digest(CONTROLS.load(CONTROLS.of(kind)()).draw(view).tobytes())]


def prompts() -> list[str]:
    captioner = CAPTIONERS.load(GrammarSpec())
    said = []
    for view in range(6):
        sample = SampleId(class_name="coffee mug", cad_id="ab" * 32, view_index=view, draw_index=0)
        request = CaptionRequest(
            sample=sample,
            class_name="coffee mug",
            keywords=("enamel", "large"),
            azimuth_deg=61.0 * view,
            elevation_deg=9.0 * view,
            most_tokens=ControlNetSpec.most_tokens,
        )
        said.append(captioner.caption(request).prompt)
    return said


def pose_scores() -> list[str]:
    rng = np.random.default_rng(3)
    azimuths = rng.uniform(0, 360, 48)
    pictures = np.zeros((48, 96, 96, 3), np.uint8)
    for picture, azimuth in zip(pictures, azimuths, strict=True):
        tip = (int(48 + 35 * np.sin(np.radians(azimuth))), int(48 + 35 * np.cos(np.radians(azimuth))))
        cv2.line(picture, (48, 48), tip, (200, 160, 90), 9)
    poses = np.stack([azimuths, 0 * azimuths, 0 * azimuths], axis=1)
    cad_ids = [f"{i % 4}" * 64 for i in range(48)]
    labelled = Labelled(images=pictures, poses=poses, cad_ids=cad_ids, symmetry=np.ones(48, np.int64))
    return [f"{value:.1f}" for value in Kcf(KcfSpec(backbone="hog")).measure(labelled).scores["kcf"]]


def fidelities() -> list[str]:
    image, drawn = np.full((96, 96, 3), 40, np.uint8), np.zeros((96, 96), np.uint8)
    cv2.circle(image, (50, 48), 30, (200, 160, 90), -1)
    cv2.circle(drawn, (50, 48), 30, 255, 1)
    return [f"{Canny(CannySpec()).fidelity(image, np.roll(drawn, far, axis=1)):.2f}" for far in (0, 3, 6, 30)]


def decisions() -> list[str]:
    scores = {"kcf": np.array([0.0, 3.5, np.nan, np.nan]), "fidelity": np.array([0.9, np.nan, 0.1, np.nan])}
    made = decide(scores, verdict.VerdictSpec().rules, 4)
    return [f"{kept} {reason}" for kept, reason in zip(made.kept, made.reasons, strict=True)]


def viewpoints() -> list[str]:
    from models.render.viewpoint import sample_view

    poses = []
    for strategy in render.STRATEGIES:
        view = sample_view(
            render.ViewpointSpec.official(strategy), ViewId(class_name="car", cad_id="cd" * 32, view_index=strategy)
        )
        poses.append(f"{view.azimuth_deg:.4f} {view.elevation_deg:.4f} {view.inplane_deg:.4f} {view.distance:.5f}")
    return poses


STAGES: dict[str, tuple[int, Callable[[], list[str]]]] = {
    "cad": (cad.VERSION, canonical_glbs),
    **{f"control {kind}": (CONTROLS.of(kind).version, partial(controls, kind)) for kind in CONTROLS.names},
    "caption": (GrammarSpec.version, prompts),
    "score kcf": (KcfSpec.version, pose_scores),
    "fidelity of lines": (CannySpec.fidelity_version, fidelities),
    "verdict": (verdict.VERSION, decisions),
    "render viewpoints": (render.VERSION, viewpoints),
}


def rendered() -> np.ndarray[Any, Any]:
    """(3, 16, 16, 4) means of three small renders."""
    from models.cad import parametric
    from models.render.pool import RenderedView, RenderPool

    views = [ViewId(class_name="car", cad_id="ef" * 32, view_index=i) for i in range(3)]
    with tempfile.TemporaryDirectory() as folder, RenderPool(1) as pool:
        path = Path(folder) / "car.glb"
        path.write_bytes(parametric.glb("car", 3))
        made = list(pool.render(path, views, render.RenderSpec(resolution=128, samples=4)))
    assert all(isinstance(view, RenderedView) for view in made)
    return np.stack([view.rgba.reshape(16, 8, 16, 8, 4).mean(axis=(1, 3)) for view in made])  # type: ignore[union-attr]


def painted() -> np.ndarray[Any, Any]:
    """(2, 16, 16, 3) means of two images of a small random pipeline."""
    from tests.pipelines import random_pipeline

    control = np.zeros((64, 64), np.uint8)
    cv2.circle(control, (32, 32), 20, 255, 1)
    samples = [SampleId(class_name="car", cad_id="01" * 32, view_index=i, draw_index=0) for i in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        spec = ControlNetSpec(model=str(random_pipeline(Path(folder) / "pipeline")), resolution=64, steps=4)
        generator = GENERATORS.load(spec, device="cpu", threads=1, batch=2)
        asked = [ImageRequest(sample=sample, prompt="a red car", controls={"canny": control}) for sample in samples]
        made = generator.generate(asked)
    return np.stack([picture.rgb.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3)) for picture in made if picture.rgb is not None])


def finished_renders() -> np.ndarray[Any, Any]:
    """(3, 16, 16, 3) means of three finished renders, one of them with words of its own."""
    from models.cad import parametric
    from models.world.finished import finish
    from models.world.glb import load

    solid = load(parametric.glb("teapot", 10_001))
    annotation = {"azimuth_deg": 40.0, "elevation_deg": 20.0, "inplane_deg": 0.0, "distance": 1.6}
    annotation |= {"K": [[140.0, 0, 63.5], [0, 140.0, 63.5], [0, 0, 1]], "width": 128}
    samples = [SampleId(class_name="teapot", cad_id="23" * 32, view_index=i, draw_index=0) for i in range(3)]
    words = [{}, {"colour": "red", "scene": "grass"}, {"material": "checkered", "light": "studio"}]
    world = FinishedRenderSpec(resolution=128).world()
    made = [finish(solid, sample, annotation, said, world).rgb for sample, said in zip(samples, words, strict=True)]
    return np.stack([rgb.reshape(16, 8, 16, 8, 3).mean(axis=(1, 3)) for rgb in made])


PICTURES: dict[str, tuple[int, Callable[[], np.ndarray[Any, Any]]]] = {
    "render": (render.VERSION, rendered),
    "image": (ControlNetSpec.version, painted),
    "image render-world": (FinishedRenderSpec.version, finished_renders),
}


def golden(stage: str, version: int) -> Any:
    known = json.loads(GOLDEN.read_text())
    name = f"{stage} {version}"
    assert name in known, f"{stage} has a new VERSION {version}: write its golden output with python -m tests.test_versions"
    return known[name]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_gives_what_its_version_gave(stage: str) -> None:
    version, make = STAGES[stage]
    assert make() == golden(stage, version), f"{stage} gives something else for the same spec: raise its VERSION"


@pytest.mark.slow
@pytest.mark.parametrize("stage", PICTURES)
def test_a_stage_gives_the_pictures_its_version_gave(stage: str) -> None:
    # Within 2 of 255 in the mean over 8 x 8 pixels: other processors round differently, another light or seed differs by tens.
    version, make = PICTURES[stage]
    difference = np.abs(make() - np.array(golden(stage, version)))
    assert difference.max() < 2, f"{stage} gives other pictures for the same spec: raise its VERSION"


if __name__ == "__main__":
    outputs = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    outputs |= {f"{stage} {version}": make() for stage, (version, make) in STAGES.items()}
    outputs |= {f"{stage} {version}": np.round(make(), 2).tolist() for stage, (version, make) in PICTURES.items()}
    GOLDEN.write_text(json.dumps(outputs, indent=None, separators=(",", ":")) + "\n")
