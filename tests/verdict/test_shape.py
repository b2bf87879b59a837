"""The judge `shape`, taught by CAD models of a class that the bundled readouts never saw, on renders that taught nothing."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.cad import parametric
from models.render.viewpoint import Pose
from models.sample import SampleId, ViewId
from models.verdict import shape_lesson
from models.verdict.protocol import Judgement, NothingToTeach
from models.verdict.readout import facts_of, pack, tensors_of
from models.verdict.shape import LEAST_SKILL, Shape, ShapeSpec, TwinsSpec
from models.verdict.shape_twins import TwinsReadout
from models.world import geometry, picture, shading
from models.world.glb import load
from models.world.scene import sample_look
from models.world.spec import WorldSpec
from tests.verdict.seen import Seen

SPEC = TwinsSpec(views=80, looks=1, steps=48, batch=20)
"""A third of what it takes to be good."""
WORLD = WorldSpec(resolution=96, supersampling=1)
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Boat:
    """A bundled CAD model (models.verdict.protocol.CadSource)."""

    seed: int
    class_name: str = "boat"
    symmetry: int = 1
    keywords: tuple[str, ...] = ()

    @property
    def cad_id(self) -> str:
        return f"boat-{self.seed}"

    def glb(self) -> bytes:
        """Return its GLB."""
        return parametric.glb(self.class_name, self.seed)


class Empty(Boat):
    """A file without a face."""

    def glb(self) -> bytes:
        """Return a GLB of nothing."""
        told = json.dumps({"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}]}).encode()
        told += b" " * (-len(told) % 4)
        return struct.pack("<4sIIII", b"glTF", 2, 20 + len(told), len(told), 0x4E4F534A) + told


@pytest.fixture(scope="module")
def readout() -> bytes:
    return TwinsReadout(SPEC, threads=1).teach([*map(Boat, SEEDS), Empty(9)])


@dataclass(frozen=True)
class Shown:
    """A picture, and what is said that it shows."""

    seed: int
    pose: Pose
    picture: NDArray[np.uint8]

    def said(self, index: int, seed: int | None = None, turned: float = 0.0, picture: Any = None) -> Seen:
        """Return it as evidence, with the shape of the CAD model `seed` or turned by so many degrees."""
        pose = dataclasses.replace(self.pose, azimuth_deg=self.pose.azimuth_deg + turned)
        depth, normals = shape_lesson.shape_of(_model(self.seed if seed is None else seed), pose, WORLD)
        sample = SampleId(class_name="boat", cad_id=f"boat-{self.seed}", view_index=index)
        shown = self.picture if picture is None else picture
        return Seen(sample=sample, picture=shown, annotation={}, rendered={"depth": depth, "normals": normals})


MODELS: dict[int, geometry.RayModel] = {}


def _model(seed: int) -> geometry.RayModel:
    if seed not in MODELS:
        MODELS[seed] = load(Boat(seed).glb())
    return MODELS[seed]


@pytest.fixture(scope="module")
def shown() -> list[Shown]:
    """Views of the CAD models, in looks that taught nothing, away from those in which left and right are the same."""
    made = []
    for index in range(18):
        view = ViewId(class_name="boat", cad_id="shown", view_index=index)
        rng, seed = view.rng("test"), SEEDS[index % len(SEEDS)]
        azimuth = float(rng.choice([0.0, 180.0]) + rng.choice([-1.0, 1.0]) * rng.uniform(30.0, 75.0))
        pose = Pose(azimuth_deg=azimuth, elevation_deg=float(rng.uniform(5.0, 40.0)), inplane_deg=0.0, distance=1.9)
        passes = picture.cast(WORLD, _model(seed), view, pose)
        made.append(Shown(seed, pose, shading.picture(passes, sample_look(rng, azimuth), WORLD.resolution)))
    return made


def judged(readout: bytes, evidence: Sequence[Seen]) -> Judgement:
    return Shape(ShapeSpec(readout=SPEC), threads=1, readout=readout).judge(evidence)


def test_pictures_that_show_their_shape_are_told_from_those_that_do_not(readout: bytes, shown: list[Shown]) -> None:
    from sklearn.metrics import roc_auc_score

    right = [one.said(index) for index, one in enumerate(shown)]
    moved = [np.roll(one.picture, 24, axis=1) for one in shown]
    wrong = {
        "a view 40 degrees away": [one.said(i, turned=40.0) for i, one in enumerate(shown)],
        "front for back": [one.said(i, turned=180.0) for i, one in enumerate(shown)],
        "mirrored": [one.said(i, picture=np.ascontiguousarray(one.picture[:, ::-1])) for i, one in enumerate(shown)],
        "moved": [one.said(i, picture=moved[i]) for i, one in enumerate(shown)],
    }
    everything = judged(readout, [*right, *(one for some in wrong.values() for one in some)])
    assert everything.not_judged is None
    for score, least in (("shape", 0.85), ("shape_margin", 0.80)):
        values = everything.scores[score].reshape(-1, len(shown))
        truth = np.r_[np.ones(len(shown)), np.zeros(len(shown))]
        told = {name: roc_auc_score(truth, np.r_[values[0], low]) for name, low in zip(wrong, values[1:], strict=True)}
        assert min(told.values()) > least, (score, told)


def test_one_image_is_judged_and_what_is_said_of_it_depends_on_no_other(readout: bytes, shown: list[Shown]) -> None:
    evidence = [one.said(index) for index, one in enumerate(shown)]
    together, backwards = judged(readout, evidence).scores, judged(readout, evidence[::-1]).scores
    alone = judged(readout, evidence[3:4]).scores
    assert alone["shape"][0] == pytest.approx(together["shape"][3], abs=1e-4)
    assert np.isnan(alone["shape_margin"][0]), "there is no other view that it could fit better"
    for name, values in together.items():
        assert np.allclose(values, backwards[name][::-1], atol=1e-4), name


def test_a_larger_picture_of_the_same_is_judged_the_same(readout: bytes, shown: list[Shown]) -> None:
    import cv2

    evidence = shown[0].said(0)
    large = np.asarray(cv2.resize(shown[0].picture, (384, 384), interpolation=cv2.INTER_CUBIC), np.uint8)
    scores = judged(readout, [evidence, shown[0].said(1, picture=large)]).scores["shape"]
    assert scores[1] == pytest.approx(scores[0], abs=1.0)


def test_an_image_without_a_render_is_not_judged_and_the_others_are(readout: bytes, shown: list[Shown]) -> None:
    imported = dataclasses.replace(shown[0].said(0), rendered={})
    judgement = judged(readout, [imported, shown[1].said(1)])
    assert np.isnan(judgement.scores["shape"]).tolist() == [True, False]
    assert judgement.not_judged == "1 of 2 images have no render with depth and normals"


def test_what_cannot_be_traced_is_named_and_with_nothing_else_nothing_is_taught(readout: bytes) -> None:
    facts = facts_of(readout)
    assert list(facts["left_out"]) == ["boat-9"]
    assert facts["cad_models"] == 3
    with pytest.raises(NothingToTeach, match="none of 1 CAD models can be traced"):
        TwinsReadout(SPEC, threads=1).teach([Empty(9)])


def test_a_readout_that_tells_nothing_apart_judges_nothing_and_says_so(readout: bytes, shown: list[Shown]) -> None:
    useless = pack(tensors_of(readout), facts_of(readout) | {"skill": LEAST_SKILL - 0.1})
    judgement = judged(useless, [shown[0].said(0)])
    assert np.isnan(judgement.scores["shape"]).all()
    assert judgement.not_judged is not None
    assert "does not tell right from wrong (AUROC 0.55" in judgement.not_judged


def test_equal_cad_models_teach_the_same_in_whatever_order_and_one_is_enough() -> None:
    quick = TwinsSpec(views=12, looks=1, steps=2, batch=4)
    teach = TwinsReadout(quick, threads=1).teach
    assert teach([Boat(0), Boat(1)]) == teach([Boat(1), Boat(0)])
    assert facts_of(teach([Boat(0)]))["cad_models"] == 1
