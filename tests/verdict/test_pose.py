"""The judge `pose`: taught by the renders of one boat, a class that the bundled readouts never saw."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import trimesh
from sklearn.metrics import roc_auc_score

from models.cad import parametric
from models.caption import vocabulary
from models.evaluation import readouts, sight
from models.reading import pictures
from models.reading.pose import PoseReadout, stood, surprises
from models.verdict.kinds import JUDGES
from models.verdict.pose import Pose, PoseReadoutSpec, PoseSpec, square
from models.verdict.protocol import Judgement, NothingToTeach
from models.verdict.readout import facts_of, pack, tensors_of
from tests.verdict.seen import Seen

QUICK = PoseReadoutSpec(views=150, looks=2, variants=4, steps=150)
"""Enough for one CAD model."""
TINY = PoseReadoutSpec(views=8, looks=1, variants=1, steps=2, batch=4)


@dataclass(frozen=True, kw_only=True)
class Cad:
    """A CAD model that lies in memory."""

    data: bytes
    cad_id: str = "ab" * 32
    class_name: str = "boat"
    symmetry: int = 1
    keywords: tuple[str, ...] = ()

    def glb(self) -> bytes:
        return self.data


@pytest.fixture(scope="module")
def boat() -> Cad:
    """A tug: its bow and its stern differ."""
    return Cad(data=parametric.glb("boat", 60_000))


@pytest.fixture(scope="module")
def taught(boat: Cad) -> bytes:
    assert "boat" not in readouts.load().classes
    return PoseReadout(QUICK, threads=1).teach([boat])


@pytest.fixture(scope="module")
def judge(taught: bytes) -> Pose:
    made: Pose = JUDGES.load(PoseSpec(readout=QUICK), device="cpu", threads=1, readout=taught)
    return made


@pytest.fixture(scope="module")
def images(boat: Cad) -> list[Seen]:
    """Other views in other looks than those that taught."""
    shown = pictures.traced([boat], 30, 1, seed=99)
    return [
        Seen.of(rgb, pose, box=list(sight.box_of(mask)), width=pictures.SIDE)
        for rgb, mask, pose in zip(shown.rgb, shown.mask, shown.poses, strict=True)
        if abs(pose[1]) < 60
    ]


def box3d(one: Seen) -> list[list[float]]:
    """Where corners would be that lie around the object."""
    left, top, right, low = one.annotation["box"]
    return [[left, top], [right, top], [left, low], [right, low], [(left + right) / 2, low]]


def turned(images: Sequence[Seen], by: float) -> list[Seen]:
    """The same images under labels that are turned."""
    labels = [{**one.annotation, "azimuth_deg": (one.annotation["azimuth_deg"] + by) % 360} for one in images]
    return [replace(one, annotation=label) for one, label in zip(images, labels, strict=True)]


def auroc(judge: Pose, good: Sequence[Seen], bad: Sequence[Seen]) -> float:
    scores = judge.judge([*good, *bad]).scores["pose"]
    return float(roc_auc_score([0] * len(good) + [1] * len(bad), scores))


def none_judged(found: Judgement, why: str) -> None:
    assert all(np.isnan(values).all() for values in found.scores.values())
    assert found.not_judged is not None
    assert why in found.not_judged


def test_front_and_back_of_a_class_that_nobody_saw_before_are_told_apart(judge: Pose, images: list[Seen]) -> None:
    assert auroc(judge, images, turned(images, 180)) > 0.93
    assert auroc(judge, images, [*turned(images, 70), *turned(images, -110)]) > 0.95


def test_what_was_read_is_said_in_degrees(judge: Pose, images: list[Seen]) -> None:
    wrong = turned(images, 180)
    scores = judge.judge(wrong).scores
    told = [one.annotation["azimuth_deg"] for one in images]
    off = np.abs((scores["pose_read_azimuth"] - told + 180) % 360 - 180)
    assert np.median(off) < 15
    heights = np.array([one.annotation["elevation_deg"] for one in images])
    assert np.median(np.abs(scores["pose_read_elevation"] - heights)) < 15
    clear = int(np.argmax(scores["pose"]))
    said = [vocabulary.side(angle) for angle in (scores["pose_read_azimuth"][clear], wrong[clear].annotation["azimuth_deg"])]
    assert said[0] != said[1]


def test_right_images_are_about_usual_and_each_is_judged_by_itself(judge: Pose, images: list[Seen]) -> None:
    together = judge.judge(images)
    assert together.not_judged is None
    assert abs(float(np.median(together.scores["pose"]))) < 1.0
    alone = judge.judge(images[3:4]).scores
    for name, values in together.scores.items():
        assert alone[name][0] == pytest.approx(values[3], abs=1e-3)


def test_an_azimuth_that_shows_the_same_picture_is_not_suspect(judge: Pose, images: list[Seen]) -> None:
    twice = [replace(one, symmetry=2) for one in images]
    same, other = judge.judge(twice).scores, judge.judge(turned(twice, 180)).scores
    assert same["pose"] == pytest.approx(other["pose"], abs=1e-5)
    assert other["pose_read_azimuth"] == pytest.approx((same["pose_read_azimuth"] + 180) % 360, abs=1e-3)
    any_turn = judge.judge([replace(one, symmetry=0) for one in images]).scores
    assert np.isnan(any_turn["pose_azimuth"]).all()
    assert np.isfinite(any_turn["pose"]).all()


def test_an_annotated_in_plane_turn_is_taken_back_and_a_larger_painting_has_its_box_elsewhere(images: list[Seen]) -> None:
    one = images[0]
    box, size, middle = one.annotation["box"], pictures.SIDE, slice(20, 60)
    upright = square(one).astype(float)

    def apart(other: Seen) -> float:
        return float(np.abs(square(other).astype(float) - upright)[middle, middle].mean())

    about = cv2.getRotationMatrix2D(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), 30, 1.0)
    tilted = replace(one, picture=cv2.warpAffine(one.picture, about, (size, size), borderMode=cv2.BORDER_REPLICATE))
    said = replace(tilted, annotation={**one.annotation, "inplane_deg": 30.0})
    assert apart(said) < 0.35 * apart(tilted)
    double = cv2.resize(one.picture, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    assert apart(replace(one, picture=double)) < 6


def test_nothing_is_called_judged_that_was_not(judge: Pose, images: list[Seen]) -> None:
    none_judged(judge.judge([]), "no images")
    boxless = [replace(one, annotation={**one.annotation, "box": None}) for one in images[:2]]
    none_judged(judge.judge(boxless), "of 2 of 2 images nobody says where")
    corners = [replace(one, annotation={**one.annotation, "box": None, "box3d": box3d(one)}) for one in images[:2]]
    assert judge.judge(corners).scores["pose"] == pytest.approx(judge.judge(images[:2]).scores["pose"])
    mixed = judge.judge([images[0], boxless[1]])
    assert np.isfinite(mixed.scores["pose"]).tolist() == [True, False]
    assert mixed.not_judged == "of 1 of 2 images nobody says where in the picture the object is"


def test_a_pose_that_renders_do_not_tell_is_not_judged() -> None:
    # Nobody said that it is round.
    ball = trimesh.creation.icosphere(subdivisions=3).export(file_type="glb")
    spec = replace(TINY, views=42, steps=20, batch=16)
    taught = PoseReadout(spec, threads=1).teach([Cad(data=ball)])
    assert facts_of(taught)["gained"]["azimuth"] < 0.2
    judge = Pose(PoseSpec(readout=spec), threads=1, readout=taught)
    found = judge.judge([Seen.of(np.zeros((32, 32, 3), np.uint8), (0, 0, 0), box=[4, 4, 20, 20])])
    assert np.isnan(found.scores["pose_azimuth"]).all()


def test_a_cad_model_that_cannot_be_traced_is_left_out_and_named(boat: Cad) -> None:
    scene = b'{"asset":{"version":"2.0"},"scene":0,"scenes":[{"nodes":[]}]} '
    header = struct.pack("<4sIIII", b"glTF", 2, 20 + len(scene), len(scene), 0x4E4F534A)
    empty = Cad(data=header + scene, cad_id="cd" * 32)
    facts = facts_of(PoseReadout(TINY, threads=1).teach([boat, empty]))
    assert facts["left_out"] == {empty.cad_id: "no faces that a ray can meet"}
    with pytest.raises(NothingToTeach, match="none of 1 CAD models can be traced"):
        PoseReadout(TINY, threads=1).teach([empty])
    with pytest.raises(NothingToTeach, match="the class has none"):
        PoseReadout(TINY, threads=1).teach([])


def test_equal_specs_and_cad_models_teach_equal_bytes_and_progress_ends(boat: Cad) -> None:
    told: list[tuple[int, int]] = []
    first = PoseReadout(TINY, threads=1).teach([boat], lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert PoseReadout(TINY, threads=1).teach([boat]) == first
    assert PoseReadout(replace(TINY, seed=1), threads=1).teach([boat]) != first


def test_a_cad_model_that_stands_otherwise_than_the_others_is_found_unless_too_many_do() -> None:
    rng = np.random.default_rng(0)
    cad, annotated = np.repeat(np.arange(8), 30), rng.uniform(0, 360, 240)
    names = [f"car-{i}" for i in range(8)]

    def found(turned: dict[int, float], flips: float = 0.1) -> dict[str, float]:
        true = annotated + np.array([turned.get(which, 0.0) for which in cad.tolist()])
        # Some are read the wrong way round.
        read = np.where(rng.random(240) < flips, true + 180, true) + rng.normal(0, 8, 240)
        said = readouts.azimuth_targets(read, np.ones(240, np.int64), 36, 12.0).astype(float)
        return {cad_id: stand["by_deg"] for cad_id, stand in stood(said, annotated, cad, names).items()}

    assert found({}) == {}
    assert found({2: 180.0, 5: 90.0}) == {"car-2": 180.0, "car-5": 90.0}
    assert found({0: 180.0, 1: 180.0, 2: 180.0}) == {}
    assert found({2: 180.0}, flips=0.45) == {}, "they are too little alike to tell"


def test_the_images_of_a_cad_model_that_stands_otherwise_are_suspect(taught: bytes, images: list[Seen]) -> None:
    stands = {images[0].sample.cad_id: {"by_deg": 180.0, "better_by": 0.7, "nats": 4.0}}
    told = pack(tensors_of(taught), {**facts_of(taught), "stands": stands})
    spec = PoseSpec(readout=QUICK)
    sound, wrong = (Pose(spec, threads=1, readout=readout).judge(images[:5]).scores for readout in (taught, told))
    assert wrong["pose"] == pytest.approx(sound["pose"] + 4.0)
    assert wrong["pose_read_azimuth"] == pytest.approx((sound["pose_read_azimuth"] + 180) % 360)


def test_a_surprise_has_an_end() -> None:
    sure = np.zeros((1, 36))
    sure[0, 18] = 1.0
    by_azimuth, _ = surprises(sure, np.full((1, 18), 1 / 18), np.zeros((1, 2)), np.ones(1, np.int64))
    assert 4.0 < by_azimuth[0] < 8.0


def test_what_it_saw_is_said_in_words() -> None:
    spec, front = PoseSpec(), {"azimuth_deg": 4.0, "elevation_deg": 12.0}

    def said(azimuth: float | None, elevation: float | None) -> str:
        return spec.in_words({"pose": 3.2, "pose_read_azimuth": azimuth, "pose_read_elevation": elevation}, front)

    assert said(171.0, 10.0) == "reads as seen from behind, annotated from the front"
    assert said(10.0, 45.0) == said(None, 45.0) == "reads as seen from above, annotated at eye level"
    assert said(10.0, 20.0) == "reads as 10° around, 20° up, annotated 4° around, 12° up"
    assert said(None, None) == "pose 3.2"
