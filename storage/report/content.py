"""What a run's page says, as plain data.

Enters: nothing; `storage.report.collect` fills it from the catalog and the store. Leaves: the numbers, rows and thumbnails that
`storage.report.page` draws, so that the page knows no SQL and can be tested on made-up runs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["kept", "dropped", "unjudged", "failed"]
STATUSES: tuple[Status, ...] = ("kept", "dropped", "unjudged", "failed")
SIDES = ("front", "left", "rear", "right", "above", "below")
STAGES = ("cad", "render", "edge", "caption", "image", "verdict", "catalog")


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small picture that the page carries inside itself."""

    uri: str
    """`data:image/...;base64,...`."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """The 3D annotation as far as it is drawn over a picture; pixel centres at integers."""

    width: int
    """Width of the annotated picture in pixels."""
    height: int
    """Height of the annotated picture in pixels."""
    box: tuple[float, ...] | None = None
    """x0, y0, x1, y1: first and last column and row of the mask."""
    box3d: tuple[tuple[float, float], ...] | None = None
    """The eight projected corners of the canonical bounding box, x fastest, then y, then z, each from - to +."""
    K: tuple[tuple[float, ...], ...] | None = None
    """Camera intrinsics, 3x3."""
    R: tuple[tuple[float, ...], ...] | None = None
    """Rotation from the canonical frame to the camera's (OpenCV axes), 3x3."""
    t: tuple[float, ...] | None = None
    """Translation, 3, in units of the longest side."""
    visible_fraction: float | None = None
    """Share of the object's silhouette that is inside the picture."""
    truncated_fraction: float | None = None
    """Share that is outside."""

    @property
    def whole(self) -> bool:
        """Whether the projected 3D box lies inside the picture."""
        return all(0 <= x <= self.width - 1 and 0 <= y <= self.height - 1 for x, y in self.box3d or ())


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One row of the page: a sample with its history."""

    sample_id: str
    """As printed by `dst`: class-cad-view-draw."""
    cad_id: str
    """sha256 of the CAD model's source."""
    cad_name: str
    """Name of its source file, for people."""
    view_index: int = 0
    """Which of the CAD model's poses."""
    status: Status
    """kept, dropped, unjudged (an image without a verdict) or failed (no image)."""
    stage: str = ""
    """For failed: the stage that failed."""
    reason: str = ""
    """For failed and dropped: why, as a short name."""
    detail: str = ""
    """For failed: one line for a person."""
    azimuth_deg: float | None = None
    """0 looks at the front, 90 at the object's own left."""
    elevation_deg: float | None = None
    """90 looks from above."""
    inplane_deg: float | None = None
    """Rotation of the picture, counter-clockwise positive."""
    distance: float | None = None
    """In units of the longest side."""
    caption: str = ""
    """The prompt."""
    seed: int | None = None
    """Seed of the image."""
    attempt: int | None = None
    """Which attempt made it."""
    score: float | None = None
    """The verdict's score; high is suspect."""
    head_scores: tuple[float, ...] = ()
    """Score of each head: azimuth, elevation, in-plane rotation."""
    edge_score: float | None = None
    """Share of the control's lines that are found in the image, corrected for chance."""
    disagreement: float | None = None
    """How much the filter's networks disagree."""
    fold: int | None = None
    """The fold that it was judged in."""
    annotation: Annotation | None = None
    """What the overlay draws."""
    render: Thumbnail | None = None
    """The render."""
    edge: Thumbnail | None = None
    """The edge map that guided the generator."""
    image: Thumbnail | None = None
    """The generated image."""

    @property
    def side(self) -> str:
        """The side of the object that the camera sees, one of SIDES, or an empty string without a pose."""
        return side_of(self.azimuth_deg, self.elevation_deg)


@dataclass(frozen=True, kw_only=True)
class CadModel:
    """One row of the table of CAD models."""

    cad_id: str
    """sha256 of its source."""
    name: str
    """Name of its source file."""
    source: str = ""
    """Collection or folder it came from."""
    keywords: tuple[str, ...] = ()
    """Words that captions use."""
    faces: int | None = None
    """Number of faces of the source."""
    licence: str = ""
    """Licence, where known."""
    thumbnail: Thumbnail | None = None
    """One of its renders."""
    made: int = 0
    """Images made from it."""
    kept: int = 0
    """Images kept of those."""
    failed: int = 0
    """Samples that failed."""


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """What happened in one stage."""

    stage: str
    """cad, render, ..."""
    made: int = 0
    """Artifacts of this run's samples that exist."""
    failed: int = 0
    """Artifacts that cannot be made."""
    reasons: tuple[tuple[str, int], ...] = ()
    """(reason, count) of what failed, most frequent first."""
    dropped: tuple[tuple[str, int], ...] = ()
    """(reason, count) of what a filter dropped, most frequent first."""
    seconds: float | None = None
    """Time spent, summed over workers, where recorded."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """Everything a run's page shows."""

    run_id: str
    """The run's name in the catalog."""
    class_name: str
    """The class."""
    recipe: str = ""
    """The recipe's name."""
    status: str = ""
    """complete, invalid, running, ... as the catalog says."""
    status_detail: str = ""
    """Why it is invalid."""
    asked: int = 0
    """Samples asked for."""
    samples: tuple[Sample, ...] = ()
    """The rows that are shown: all of them, or a stratified selection of a big run (see `shown_of`)."""
    poses: tuple[tuple[float, float, Status, str], ...] = ()
    """(azimuth, elevation, status, sample id) of every sample, shown or not."""
    distances: tuple[tuple[float, Status], ...] = ()
    """(distance, status) of every sample."""
    scores: tuple[tuple[float, Status], ...] = ()
    """(score, status) of every judged sample."""
    edge_scores: tuple[tuple[float, Status], ...] = ()
    """(edge score, status) of every sample that has one."""
    edge_threshold: float | None = None
    """Edge scores below it are dropped."""
    counts: dict[str, int] = field(default_factory=dict)
    """status -> number of samples, of all samples."""
    threshold: float | None = None
    """Scores above it are dropped."""
    rule: str = ""
    """How the threshold was found."""
    stages: tuple[StageRow, ...] = ()
    """One row for each stage."""
    wall_s: float | None = None
    """Wall time of the run in seconds."""
    cad_models: tuple[CadModel, ...] = ()
    """The class's CAD models."""
    specs: dict[str, Any] = field(default_factory=dict)
    """The recipe in full: stage -> spec."""
    docs: str = ""
    """Relative link to the Data Docs."""
    provenance: tuple[tuple[str, str], ...] = ()
    """(what, value) for the footer: code version, model and revision, machine, time."""

    @property
    def total(self) -> int:
        """Number of samples, shown or not."""
        return sum(self.counts.values())

    @property
    def made(self) -> int:
        """Number of samples with an image."""
        return self.total - self.counts.get("failed", 0)

    def count(self, status: str) -> int:
        return self.counts.get(status, 0)

    def of(self, *statuses: str) -> list[Sample]:
        """Return the shown samples with one of these statuses."""
        return [sample for sample in self.samples if sample.status in statuses]

    def showcase(self) -> Sample | None:
        """Return the sample that explains the method best: low score, seen from three quarters and a little above.

        A kept one, where there is one; None where no sample has all its pictures.
        """
        complete = [s for s in self.samples if s.render and s.edge and s.image]
        complete = [s for s in complete if s.status in ("kept", "unjudged")] or complete
        if not complete:
            return None
        scores = sorted(s.score for s in complete if s.score is not None)
        limit = scores[len(scores) // 2] if scores else None

        def unsuited(sample: Sample) -> float:
            azimuth = abs(((sample.azimuth_deg or 0.0) + 180) % 360 - 180)
            penalty = abs(azimuth - 45) / 45 + abs((sample.elevation_deg or 0.0) - 18) / 25
            if limit is not None and sample.score is not None and sample.score > limit:
                penalty += 1
            return penalty + (0 if sample.annotation is None or sample.annotation.whole else 2)

        return min(complete, key=unsuited)

    def varied(self, count: int) -> list[Sample]:
        """Return up to `count` kept samples with an image, from different sides and CAD models, the showcase first."""
        rest = [sample for sample in self.of("kept", "unjudged") if sample.image]
        first = self.showcase()
        chosen = [first] if first in rest and first and count else rest[: min(count, 1)]
        first = chosen[0] if chosen else None
        rest = [sample for sample in rest if sample is not first]

        def familiar(sample: Sample) -> tuple[int, bool, bool]:
            known = sum((sample.side == one.side) + (sample.cad_id == one.cad_id) for one in chosen)
            cropped = sample.annotation is not None and not sample.annotation.whole
            return known, sample.side in ("above", "below"), cropped

        while rest and len(chosen) < count:
            best = min(rest, key=familiar)
            rest.remove(best)
            chosen.append(best)
        return chosen


def side_of(azimuth_deg: float | None, elevation_deg: float | None) -> str:
    """Return which side of the object a camera sees: above or below beyond 55 degrees, else the nearest quarter."""
    if azimuth_deg is None or elevation_deg is None:
        return ""
    if elevation_deg > 55:
        return "above"
    if elevation_deg < -55:
        return "below"
    return SIDES[int(((azimuth_deg + 45) % 360) // 90)]


def reasons_of(samples: list[tuple[str, str]]) -> dict[str, tuple[tuple[str, int], ...]]:
    """Return, for each stage, its (reason, count) pairs, most frequent first, from (stage, reason) of each failure."""
    counted: dict[str, Counter[str]] = {}
    for stage, reason in samples:
        counted.setdefault(stage, Counter())[reason] += 1
    return {stage: tuple(sorted(counter.items(), key=lambda item: (-item[1], item[0]))) for stage, counter in counted.items()}
