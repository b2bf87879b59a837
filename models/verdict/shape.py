"""The judge `shape`: does this picture show this shape in this pose?

Enters: images, the depth and normals of their renders, and a readout that was taught by the class's own CAD models: two
networks, one for pictures and one for shapes, whose answers agree where both show the same (models.verdict.shape_twins). Leaves
for each image `shape`, the logit that picture and shape belong together, for which one image is enough, and `shape_margin`, by
how much the annotated view fits better than other views of the cohort that show something else. Low is suspect.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.verdict.protocol import Evidence, Judgement, JudgeSpec, Progress, ReadoutSpec

if TYPE_CHECKING:
    import torch

BESIDE = 256
"""The annotated view is compared with at most so many others of the class."""
LEAST_BESIDE = 5
"""With fewer that show something else, there is no margin."""
LEAST_SKILL = 0.65
"""A readout that tells right pairs of held-out views from wrong ones no better than this (AUROC) does not judge."""
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class TwinsSpec(ReadoutSpec):
    """Two networks that are taught which picture shows which shape."""

    implementation: ClassVar[str] = "models.verdict.shape_twins:TwinsReadout"
    version: ClassVar[int] = 1

    kind: Literal["twins"] = "twins"
    views: int = 250
    """Traced views, dealt round the CAD models."""
    looks: int = 2
    """Materials and scenes of each view."""
    steps: int = 150
    """Training steps."""
    batch: int = 32
    """Views in a step: each with its shape, a shape that is wrong for it, its picture and a spoiled one."""
    learning_rate: float = 0.002
    """Greatest step of AdamW."""
    seed: int = 0
    """Of the views and of the networks."""

    def __post_init__(self) -> None:
        limits = {"views": (12, 20000), "looks": (1, 16), "steps": (1, 100000), "batch": (4, 512)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"twins {name} is {getattr(self, name)}; it must lie between {low} and {high}")
        if not 0 < self.learning_rate < 1:
            raise ValueError("twins needs 0 < learning_rate < 1")

    def identity(self) -> dict[str, Any]:
        """Return which readouts the network of pictures begins from."""
        from models.evaluation import readouts

        return {"readouts": readouts.bundled_digest()}


@dataclass(frozen=True, kw_only=True)
class ShapeSpec(JudgeSpec):
    """The picture against the render's depth and normals."""

    implementation: ClassVar[str] = "models.verdict.shape:Shape"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("shape", "shape_margin")

    kind: Literal["shape"] = "shape"
    readout: TwinsSpec = dataclasses.field(default_factory=TwinsSpec)
    """How it is taught."""

    def taught_by(self) -> ReadoutSpec:
        return self.readout

    def in_words(self, scores: Mapping[str, float | None], annotation: Mapping[str, Any]) -> str:
        """Return that the picture shows something else."""
        value = scores.get("shape")
        told = "" if value is None else f" (log odds {value:.1f})"
        return f"does not show this CAD model in this pose{told}"


class Shape:
    """Asks both networks about each image."""

    def __init__(self, spec: ShapeSpec, device: str = "cpu", threads: int | None = None, *, readout: bytes) -> None:
        """readout: what the class's CAD models taught (TwinsReadout.teach)."""
        import torch

        from models.device import pick_device
        from models.verdict import shape_twins

        if threads is not None:
            torch.set_num_threads(threads)
        self.device = pick_device(device)
        self.twins, self.taught = shape_twins.load(readout, self.device)

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Return `shape` and `shape_margin`, NaN where an image has no render."""
        scores = {name: np.full(len(evidence), np.nan) for name in ShapeSpec.scores}
        words = f"picture against depth and normals: {self.taught.get('words', '')}"
        if self.taught["skill"] < LEAST_SKILL:
            skill = f"AUROC {self.taught['skill']:.2f} on held-out renders"
            unfit = f"what its CAD models taught does not tell right from wrong ({skill})"
            return Judgement(scores=scores, facts={"words": f"shape: not judged, {unfit}"}, not_judged=unfit)
        seen = self._seen(evidence, progress)
        if seen is not None:
            scores["shape"][seen.rows], scores["shape_margin"][seen.rows] = seen.logits, self._margins(seen)
        missing = int(np.isnan(scores["shape"]).sum())
        why = f"{missing} of {len(evidence)} images have no render with depth and normals" if missing else None
        return Judgement(scores=scores, facts={"words": words, "skill": self.taught["skill"]}, not_judged=why)

    def _seen(self, evidence: Sequence[Evidence], progress: Progress | None) -> _Seen | None:
        import torch

        from models.verdict import shape_twins
        from models.verdict.shape_lesson import cut

        rows, names, parts = [], [], []
        for start in range(0, len(evidence), _BATCH):
            pictures, shapes = [], []
            for index in range(start, min(start + _BATCH, len(evidence))):
                one = evidence[index]
                depth, normals = one.depth(), one.normals()
                if depth is None or normals is None or not (depth > 0).any():
                    continue
                picture, shape = cut(one.image(), depth, normals, shape_twins.SIDE)
                rows.append(index)
                names.append((str(one.sample), one.sample.cad_id))
                pictures.append(picture)
                shapes.append(shape)
            if pictures:
                parts.append(self.twins.read(np.stack(pictures), np.stack(shapes)))
            if progress:
                progress(min(start + _BATCH, len(evidence)), len(evidence))
        if not rows:
            return None
        pictures_said, shapes_said, outlines = (torch.cat(part) for part in zip(*parts, strict=True))
        return _Seen(
            rows=np.array(rows),
            names=names,
            logits=self.twins.paired(pictures_said, shapes_said).double().cpu().numpy(),
            pictures=pictures_said,
            shapes=shapes_said,
            outlines=outlines,
        )

    def _margins(self, seen: _Seen) -> NDArray[np.float64]:
        """Return each image's logit above that of other views (the mean of their odds), NaN with too few of them."""
        import torch

        from models.verdict.shape_twins import alike

        order = sorted(range(len(seen.names)), key=seen.names.__getitem__)
        beside = torch.tensor([order[place] for place in np.unique(np.linspace(0, len(order) - 1, BESIDE).astype(int))])
        margins = np.full(len(order), np.nan)
        for start in range(0, len(order), 4 * _BATCH):
            some = slice(start, start + 4 * _BATCH)
            logits = self.twins.logits(seen.pictures[some], seen.shapes[beside]).double()
            other = ~alike(seen.outlines[some], seen.outlines[beside])
            counted = other.sum(1)
            mean = torch.logsumexp(logits.masked_fill(~other, -torch.inf), 1) - counted.double().log()
            margin = (torch.from_numpy(seen.logits[some]).to(mean) - mean).cpu().numpy()
            margins[some] = np.where((counted >= LEAST_BESIDE).cpu().numpy(), margin, np.nan)
        return margins


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What both networks say of the images that have a render."""

    rows: NDArray[np.int64]
    """Which images these are."""
    names: list[tuple[str, str]]
    """What tells them apart, however they came."""
    logits: NDArray[np.float64]
    """That picture and own shape belong together."""
    pictures: torch.Tensor
    """(N, D) what is read in each picture."""
    shapes: torch.Tensor
    """(N, D) what is read in each shape."""
    outlines: torch.Tensor
    """(N, D) the shapes, coarsely, to see which are alike."""
