"""What a run's page says, as plain data.

Enters: nothing; `storage.report.collect` fills it from the catalog and the store. Leaves: the numbers, rows and thumbnails that
the page, the picture strip and the index draw, so that these know no SQL and can be tested on made-up runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median
from typing import Any, Literal

from storage.report.agreement import Agreement, Share
from storage.report.verdict import JudgeFacts, RuleFacts, Verdict

Status = Literal["kept", "dropped", "unjudged", "failed"]
STATUSES: tuple[Status, ...] = ("kept", "dropped", "unjudged", "failed")
_PROMISES = {
    "recall": "{:.0%} of the failures dropped",
    "precision": "{:.0%} of what is dropped failed",
    "lost": "{:.1%} of the good ones lost",
    "left": "{:.1%} failures left",
}
SIDES = ("front", "left", "rear", "right", "above", "below")


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
class ReportSample:
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
    """One line for a person: why it failed, or what speaks against it where it was dropped."""
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
    scores: Mapping[str, float] = field(default_factory=dict)
    """name -> what a judge measured; a name that others have and this one lacks was not judged here."""
    tag: str = ""
    """good, bad or doubtful, where a person said so."""
    note: str = ""
    """What that person said with it."""
    annotation: Annotation | None = None
    """What the overlay draws."""
    render: Thumbnail | None = None
    """The render."""
    controls: tuple[tuple[str, Thumbnail | None], ...] = ()
    """(kind, picture) of each control that the generator had to obey, in order of kind."""
    image: Thumbnail | None = None
    """The generated image."""

    @property
    def side(self) -> str:
        """The side of the object that the camera sees, one of SIDES, or an empty string without a pose."""
        return side_of(self.azimuth_deg, self.elevation_deg)

    @property
    def complete(self) -> bool:
        """Whether it has all its pictures."""
        return bool(self.render and self.image and self.controls and all(picture for _, picture in self.controls))


@dataclass(frozen=True, kw_only=True)
class ReportModel:
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
    orientation: str = ""
    """Its axes that are up and front, whether they are assumed, set or confirmed, and what speaks against them."""
    warnings: tuple[str, ...] = ()
    """What was left out or read as best it could when its file was read."""
    thumbnail: Thumbnail | None = None
    """One of its renders."""
    made: int = 0
    """Images made from it."""
    kept: int = 0
    """Images kept of those."""
    dropped: int = 0
    """Images dropped of those; the rest was not judged."""
    failed: int = 0
    """Samples that failed."""


@dataclass(frozen=True, kw_only=True)
class BesideThreshold:
    """An image in a strip of a judge."""

    sample_id: str
    """Whose image."""
    value: float | None
    """Its score; None where the strip is of no score."""
    status: Status
    """What all rules together made of it."""
    image: Thumbnail | None
    """The image; None where it is missing or damaged."""


@dataclass(frozen=True, kw_only=True)
class ScoreShown:
    """One score of a judge, with images on both sides of a rule's threshold."""

    name: str
    """Of the score."""
    rule: RuleFacts | None
    """The rule that looks at it; None: nothing does, and the strips are its lowest and highest values."""
    count: int
    """Images that have it."""
    made: int
    """Images there are; the others were not judged."""
    failing: int = 0
    """Images that fail this rule, whichever rule then dropped them."""
    fails: tuple[BesideThreshold, ...] = ()
    """Images that fail, the one nearest to the threshold last."""
    passes: tuple[BesideThreshold, ...] = ()
    """Images that pass, the one nearest to the threshold first."""
    clear_fails: tuple[BesideThreshold, ...] = ()
    """Those that fail the most clearly, where there are more than the nearest."""
    clear_passes: tuple[BesideThreshold, ...] = ()
    """Those that pass the most clearly."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a page shows of one judge."""

    facts: JudgeFacts
    """What it says of itself."""
    scores: tuple[ScoreShown, ...]
    """Those that rules look at; without a rule the one that it stands for."""
    others: tuple[str, ...]
    """Names of its further scores."""


@dataclass(frozen=True, kw_only=True)
class NamedDecision:
    """A filter that somebody named."""

    name: str
    """Its name."""
    keep: str
    """What was asked for, in words."""
    is_default: bool
    """Whether `kept` shows it, and so this page."""
    kept: int
    """Images."""
    dropped: int
    """Images."""
    unjudged: int
    """Images."""
    expected: Mapping[str, float] | None
    """What it promises: precision, recall, lost, left; None where it promises nothing."""
    decided_by: str
    """Who named it."""
    decided_at: str
    """When, UTC, ISO 8601."""

    @property
    def promise(self) -> str:
        """What is to be expected of it, in words; "" where it promises nothing."""
        told = self.expected or {}
        return ", ".join(words.format(told[name]) for name, words in _PROMISES.items() if told.get(name) is not None)


@dataclass(frozen=True, kw_only=True)
class LowYield:
    """A CAD model of whose images no fewer are dropped than of the class's."""

    model: ReportModel
    """The CAD model."""
    share: Share
    """Kept ones of its judged images."""
    reasons: tuple[tuple[str, int], ...]
    """(reason, count) of what was dropped, most frequent first."""
    worst: tuple[BesideThreshold, ...]
    """Dropped ones of its images."""


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
    unjudged: int = 0
    """Images about which the filter could not decide."""
    seconds: float | None = None
    """Seconds of work on what this run itself made, summed over workers; None where it made nothing."""
    waited: float = 0.0
    """Seconds behind others before that."""


@dataclass(frozen=True, kw_only=True)
class Report:
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
    samples: tuple[ReportSample, ...] = ()
    """The rows that are shown: all of them, or a stratified selection of a big run (see `shown_of`)."""
    poses: tuple[tuple[float, float, Status, str], ...] = ()
    """(azimuth, elevation, status, sample id) of every sample, shown or not."""
    drops: tuple[tuple[float, float, str], ...] = ()
    """(azimuth, elevation, reason) of every image that was decided about; "" for a kept one."""
    distances: tuple[tuple[float, Status], ...] = ()
    """(distance, status) of every sample."""
    scores: Mapping[str, tuple[tuple[float, Status], ...]] = field(default_factory=dict)
    """name -> (value, status) of every sample that has this score, shown or not; those that rules look at come first."""
    verdict: Verdict | None = None
    """What was measured and decided; None before anything was."""
    judged: tuple[Judged, ...] = ()
    """Each judge with its scores and images, those that decide first."""
    low_yield: tuple[LowYield, ...] = ()
    """CAD models of which most is dropped, the worst first."""
    decisions: tuple[NamedDecision, ...] = ()
    """Named filters over the class's images under this recipe, the newest first."""
    agreement: Agreement = field(default_factory=Agreement)
    """What people who tagged images say of the rules and scores."""
    counts: dict[str, int] = field(default_factory=dict)
    """status -> number of samples, of all samples."""
    stages: tuple[StageRow, ...] = ()
    """One row for each stage."""
    wall_s: float | None = None
    """Wall time of the run in seconds."""
    cad_models: tuple[ReportModel, ...] = ()
    """The class's CAD models."""
    specs: dict[str, Any] = field(default_factory=dict)
    """The recipe in full: stage -> spec."""
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

    @property
    def rules(self) -> tuple[RuleFacts, ...]:
        """The rules that decided, in their order."""
        return self.verdict.rules if self.verdict else ()

    def count(self, status: str) -> int:
        return self.counts.get(status, 0)

    def of(self, *statuses: str) -> list[ReportSample]:
        """Return the shown samples with one of these statuses."""
        return [sample for sample in self.samples if sample.status in statuses]

    @cached_property
    def _usual(self) -> dict[str, float]:
        """The median distance of a score's values from the threshold of each rule that has one."""
        away = {
            rule.name: [abs(value - rule.threshold) for value, _ in self.scores.get(rule.score, ())]
            for rule in self.rules
            if rule.threshold is not None
        }
        return {name: median(distances) or 1.0 for name, distances in away.items() if distances}

    def clear(self, sample: ReportSample) -> float:
        """Return how clearly a sample was decided about: the distance of its scores from the thresholds, 1 is usual.

        For a dropped one the rule that dropped it counts, for others the rule that came nearest to dropping it.
        """
        asked = [rule for rule in self.rules if sample.status != "dropped" or rule.reason == sample.reason]
        away = [
            abs(sample.scores[rule.score] - (rule.threshold or 0.0)) / self._usual[rule.name]
            for rule in asked
            if rule.name in self._usual and rule.score in sample.scores
        ]
        return min(away, default=0.0)

    def showcase(self) -> ReportSample | None:
        """Return the sample that explains the method best: clearly kept, seen from three quarters and a little above.

        A kept one, where there is one; None where no sample has all its pictures.
        """
        complete = [sample for sample in self.samples if sample.complete]
        complete = [sample for sample in complete if sample.status in ("kept", "unjudged")] or complete
        if not complete:
            return None
        usual = median(self.clear(sample) for sample in complete)

        def unsuited(sample: ReportSample) -> float:
            azimuth = abs(((sample.azimuth_deg or 0.0) + 180) % 360 - 180)
            penalty = abs(azimuth - 45) / 45 + abs((sample.elevation_deg or 0.0) - 18) / 25
            penalty += self.clear(sample) < usual
            return penalty + (0 if sample.annotation is None or sample.annotation.whole else 2)

        return min(complete, key=unsuited)

    def brief(self) -> Report:
        """Return what the index tells of this run: its counts and a few samples."""
        models = tuple(replace(model, thumbnail=None) for model in self.cad_models)
        nothing: dict[str, Any] = {
            "poses": (),
            "drops": (),
            "distances": (),
            "scores": {},
            "stages": (),
            "specs": {},
            "provenance": (),
        }
        nothing |= {"agreement": Agreement(), "judged": (), "low_yield": (), "decisions": ()}
        return replace(self, samples=tuple(self.varied(6)), cad_models=models, **nothing)

    def varied(self, count: int) -> list[ReportSample]:
        """Return up to `count` kept samples with an image, from different sides and CAD models, the showcase first."""
        rest = [sample for sample in self.of("kept", "unjudged") if sample.image]
        first = self.showcase()
        chosen = [first] if first in rest and first and count else rest[: min(count, 1)]
        first = chosen[0] if chosen else None
        rest = [sample for sample in rest if sample is not first]

        def familiar(sample: ReportSample) -> tuple[int, bool, bool]:
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
