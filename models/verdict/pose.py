"""The judge `pose`: does the image show the annotated pose, to somebody who knows the class's shapes?

Enters: images with annotations, and a readout that was taught by renders of the class's own CAD models in varied materials and
scenes. Leaves: scores in nats, high is suspect, and the angles that were read. It has seen front and back of every CAD model
before it sees an image, so it needs no other images: one is enough. A CAD model that stands otherwise than the others of its
class is found by these while it is taught, and all of its images are suspect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.caption import vocabulary
from models.symmetry import ROUND
from models.verdict import readout as packed
from models.verdict.crop import crop
from models.verdict.protocol import Evidence, Judgement, JudgeSpec, Progress, ReadoutSpec

BATCH = 64
"""Images that are read at once."""


@dataclass(frozen=True, kw_only=True)
class PoseReadoutSpec(ReadoutSpec):
    """How a class's poses are taught. The defaults take three quarters of a minute of one core."""

    implementation: ClassVar[str] = "models.reading.pose:PoseReadout"
    version: ClassVar[int] = 1

    kind: Literal["pose"] = "pose"
    views: int = 500
    """Views that are traced, dealt round the class's CAD models."""
    looks: int = 2
    """Pictures of each view, in other materials, scenes and light."""
    variants: int = 6
    """Changed versions (moved, blurred, recoloured) of each picture that are learned from."""
    steps: int = 500
    """Steps of the optimiser."""
    check_steps: int = 150
    """Steps of each of the two networks that compare how the class's CAD models stand; 0: nobody does."""
    batch: int = 64
    """Pictures in a step."""
    learning_rate: float = 2e-3
    """Greatest rate of AdamW, reached after a tenth of the steps and falling to zero along a cosine."""
    seed: int = 0
    """Of views, looks, changes and order."""

    def __post_init__(self) -> None:
        for name, (low, high) in {
            "views": (8, 100_000),
            "looks": (1, 16),
            "variants": (1, 100),
            "steps": (1, 100_000),
            "check_steps": (0, 100_000),
            "batch": (2, 4096),
        }.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"a pose readout's {name} is {getattr(self, name)}; it must lie between {low} and {high}")
        if not 0 < self.learning_rate < 1:
            raise ValueError("a pose readout needs 0 < learning_rate < 1")

    def identity(self) -> dict[str, Any]:
        """Return which readouts it begins from."""
        from models.evaluation import readouts

        return {"readouts": readouts.bundled_digest()}


@dataclass(frozen=True, kw_only=True)
class PoseSpec(JudgeSpec):
    """The pose as the class's own CAD models taught it."""

    implementation: ClassVar[str] = "models.verdict.pose:Pose"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = (
        "pose",
        "pose_azimuth",
        "pose_elevation",
        "pose_read_azimuth",
        "pose_read_elevation",
    )

    kind: Literal["pose"] = "pose"
    readout: PoseReadoutSpec = field(default_factory=PoseReadoutSpec)
    """What teaches it."""

    def taught_by(self) -> ReadoutSpec:
        """Return how its readout is taught."""
        return self.readout

    def in_words(self, scores: Mapping[str, float | None], annotation: Mapping[str, Any]) -> str:
        """Return what was read and what is annotated: by sides where these differ, else by height, else in degrees."""
        azimuth, elevation = scores.get("pose_read_azimuth"), scores.get("pose_read_elevation")
        said = annotation["azimuth_deg"], annotation["elevation_deg"]
        degrees = [f"{read:.0f}° {way}" for read, way in ((azimuth, "around"), (elevation, "up")) if read is not None]
        if not degrees:
            return super().in_words(scores, annotation)
        if azimuth is not None and vocabulary.side(azimuth) != vocabulary.side(said[0]):
            return f"reads as {vocabulary.side(azimuth)}, annotated {vocabulary.side(said[0]).removeprefix('seen ')}"
        if elevation is not None and vocabulary.height(elevation) != vocabulary.height(said[1]):
            read, annotated = (vocabulary.height(height) or "at eye level" for height in (elevation, said[1]))
            return f"reads as seen {read}, annotated {annotated}"
        return f"reads as {', '.join(degrees)}, annotated {said[0]:.0f}° around, {said[1]:.0f}° up"


class Pose:
    """Reads the pose of each image and compares it with the annotation."""

    def __init__(self, spec: PoseSpec, device: str = "cpu", threads: int | None = None, readout: bytes = b"") -> None:
        """device: as every judge is given it; this one is small enough for a processor."""
        from models.reading.pose import LEARNT_NATS, Reader

        self._reader = Reader(packed.tensors_of(readout), threads)
        self._taught = packed.facts_of(readout)
        self._tells = {name: gained >= LEARNT_NATS for name, gained in self._taught["gained"].items()}

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Return the scores of each image; NaN where its box is not known, and for an angle that cannot be told."""
        scores = {name: np.full(len(evidence), np.nan) for name in PoseSpec.scores}
        boxless = 0
        for start in range(0, len(evidence), BATCH):
            some = [(start + i, one) for i, one in enumerate(evidence[start : start + BATCH])]
            seen = [(row, one) for row, one in some if _box(one.annotation) is not None]
            boxless += len(some) - len(seen)
            if seen and any(self._tells.values()):
                rows = np.array([row for row, _ in seen])
                for name, values in self._measured([one for _, one in seen]).items():
                    scores[name][rows] = values
            if progress:
                progress(min(start + BATCH, len(evidence)), len(evidence))
        why = self._why_not(len(evidence), boxless, int(np.isnan(scores["pose"]).sum()))
        return Judgement(scores=scores, facts=self._facts(), not_judged=why)

    def _measured(self, seen: Sequence[Evidence]) -> dict[str, NDArray[np.float64]]:
        from models.reading import pose as reading

        squares = np.stack([square(one) for one in seen])
        symmetry = np.array([one.symmetry for one in seen], np.int64)
        annotations = [one.annotation for one in seen]
        poses = np.array([[said["azimuth_deg"], said["elevation_deg"]] for said in annotations], np.float64)
        azimuth, elevation = self._reader.read(squares, symmetry)
        by_azimuth, by_elevation = reading.surprises(azimuth, elevation, poses, symmetry)
        usual = self._taught["usual"]
        stands = [self._taught["stands"].get(one.sample.cad_id, {"by_deg": 0.0, "nats": 0.0}) for one in seen]
        by_azimuth = by_azimuth + np.array([stood["nats"] for stood in stands])
        turns = (symmetry != ROUND) & self._tells["azimuth"]
        heights = np.full(len(seen), self._tells["elevation"])
        both = np.where(turns, by_azimuth, 0.0) + np.where(heights, reading.HEIGHT_WEIGHT * by_elevation, 0.0)
        level = np.where(turns, usual["azimuth"], reading.HEIGHT_WEIGHT * usual["elevation"])
        level = np.where(turns & heights, usual["both"], level)
        read_azimuth, read_elevation = reading.angles(azimuth, elevation)
        read_azimuth = read_azimuth + np.array([stood["by_deg"] for stood in stands])
        return {
            "pose": np.where(turns | heights, both - level, np.nan),
            "pose_azimuth": np.where(turns, by_azimuth - usual["azimuth"], np.nan),
            "pose_elevation": np.where(heights, by_elevation - usual["elevation"], np.nan),
            "pose_read_azimuth": np.where(turns, _nearest(read_azimuth, poses[:, 0], symmetry), np.nan),
            "pose_read_elevation": np.where(heights, read_elevation, np.nan),
        }

    def _why_not(self, count: int, boxless: int, unjudged: int) -> str | None:
        if not count:
            return "there are no images"
        if not any(self._tells.values()):
            return "renders of the class's CAD models look alike from all sides, so their pose cannot be told"
        if boxless:
            return f"of {boxless} of {count} images nobody says where in the picture the object is"
        return f"{unjudged} of {count} images show what looks alike from all sides" if unjudged else None

    def _facts(self) -> dict[str, Any]:
        told = [name for name, tells in self._tells.items() if tells]
        words = f"pose as the class's CAD models taught it: {', '.join(told) or 'nothing'} ({self._taught['words']})"
        return {"words": words, "taught": self._taught}


def square(one: Evidence) -> NDArray[np.uint8]:
    """Return the square around an image's object as the network takes it, turned upright by the annotated in-plane angle."""
    import cv2

    from models.evaluation import sight
    from models.reading.pose import SIDE

    image, said = one.image(), one.annotation
    box, turned = np.array(_box(said), np.float64), float(said.get("inplane_deg") or 0.0)
    # A generator may paint larger pictures than were rendered.
    scale = image.shape[1] / float(said.get("width") or image.shape[1])
    box = (box + 0.5) * scale - 0.5
    if abs(turned) > 0.5:
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        turn = cv2.getRotationMatrix2D(middle, -turned, 1.0)
        image = cv2.warpAffine(image, turn, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mask = one.mask()
        if mask is not None:
            mask = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            box = np.array(sight.box_of(cv2.warpAffine(mask, turn, mask.shape[1::-1], flags=cv2.INTER_NEAREST)))
    return crop(np.ascontiguousarray(image), box.tolist(), int(np.ceil(SIDE * sight.MARGIN / sight.ROOM)), sight.MARGIN)


def _box(annotation: Mapping[str, Any]) -> Sequence[float] | None:
    """Return the box of what a render shows of the object or, of images that nobody rendered here, of its CAD model's corners."""
    if annotation.get("box") is not None or not annotation.get("box3d"):
        box: Sequence[float] | None = annotation.get("box")
        return box
    corners = np.array(annotation["box3d"], np.float64)
    return [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()]


def _nearest(read: NDArray[np.float64], annotated: NDArray[np.float64], symmetry: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return, of the azimuths that show the same picture as the one that was read, that nearest to the annotated one."""
    turn = 360.0 / np.maximum(symmetry, 1)
    return np.asarray((read + np.rint((annotated - read) / turn) * turn) % 360.0, np.float64)
