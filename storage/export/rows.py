"""One sample of a release: its row, and its pictures as the formats want them.

Enters: a row of the frozen selection, the store. Leaves: the image's bytes as they lie in the store, checked by digest, with
mask, depth, camera and box at the image's own size, whatever size the render had.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storage.artifacts import Artifact, ArtifactError, ArtifactStore, DamagedArtifact
from storage.images import from_png, to_png

Matrix = NDArray[np.float64]
MM = 1000.0
"""Millimetres that the longest side of a CAD model stands for where a format wants them."""


class LostFiles(ValueError):
    """Samples whose files are missing from the store or are not what was written; one line that names them."""


@dataclass(frozen=True, kw_only=True)
class ReleaseSample:
    """One row of a release, in the order of the release."""

    number: int
    """Its place in the release, from 0."""
    place: int
    """Its place among the samples of its CAD model, from 0."""
    name: str
    """What its files are called: the sample_id, and the start of the image's key where a release holds several of its images."""
    row: Mapping[str, Any]
    """Columns of the `samples` view; K, R, t and 3D box; `scores` and `controls` by their names."""

    @property
    def class_name(self) -> str:
        return str(self.row["class_name"])

    @property
    def cad_id(self) -> str:
        return str(self.row["cad_id"])

    @property
    def verdict(self) -> str:
        """kept, dropped, or unjudged where no rule could decide."""
        kept = self.row["kept"]
        return "unjudged" if kept is None else "kept" if kept else "dropped"

    @property
    def R(self) -> Matrix:
        """Rotation from the canonical frame to the camera's, OpenCV axes, 3x3."""
        return np.array(self.row["rotation"], dtype=np.float64).reshape(3, 3)

    @property
    def t(self) -> Matrix:
        """Translation, 3, in longest sides of the object."""
        return np.array(self.row["translation"], dtype=np.float64).reshape(3)

    def pose(self) -> dict[str, Any]:
        """Return the pose in the words of docs/conventions.md."""
        return {name: self.row[name] for name in ("azimuth_deg", "elevation_deg", "inplane_deg", "distance")}

    def provenance(self) -> dict[str, Any]:
        """Return what travels with a sample in every format that has room for it.

        scores: name -> value; what was not judged is not in it. controls: kind -> key of what the generator had to obey.
        """
        return {name: self.row[name] for name in (*PROVENANCE, "scores", "controls")}


PROVENANCE = (
    "sample_id", "cad_id", "cad_name", "licence", "view_index", "draw_index", "prompt", "negative_prompt", "seed", "attempt",
    "model_id", "model_revision", "captioner", "captioner_revision", "recipe", "run_id", "kept", "drop_reason",
    "tag", "tag_note", "tagged_by", "tagged_at",
    "visible_fraction", "truncated_fraction", "cad_key", "render_key", "caption_key", "image_key", "verdict_key", "sha256",
)  # fmt: skip
"""Columns that say where a sample comes from."""


@dataclass(frozen=True, kw_only=True)
class SamplePictures:
    """A sample's pictures, at the size of its image (H, W)."""

    sample: ReleaseSample
    """Whose they are."""
    image: bytes
    """The PNG, byte for byte as it lies in the store."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    render: Artifact
    """The render they are annotated by."""
    render_files: Mapping[str, bytes]
    """Its mask.png and depth.png."""

    @cached_property
    def scale(self) -> tuple[float, float]:
        """Pixels of the image for each pixel of the render, along x and y."""
        return self.width / int(self.sample.row["width"]), self.height / int(self.sample.row["height"])

    @cached_property
    def K(self) -> Matrix:
        """Intrinsics, 3x3, for the image's pixels, whose centres are integers."""
        K = np.array(self.sample.row["intrinsics"], dtype=np.float64).reshape(3, 3)
        sx, sy = self.scale
        # A pixel's edge, not its centre, is what scales: x' + 0.5 = s (x + 0.5).
        grow = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])
        return np.asarray(grow @ K)

    @cached_property
    def mask(self) -> NDArray[np.uint8]:
        """0 or 255, (H, W)."""
        return np.asarray(self._sized(from_png(self.render_files["mask.png"])), dtype=np.uint8)

    @cached_property
    def depth(self) -> NDArray[np.uint16]:
        """z along the optical axis in steps of `depth_scale` longest sides, 0 for background, (H, W)."""
        return np.asarray(self._sized(from_png(self.render_files["depth.png"])), dtype=np.uint16)

    @property
    def depth_scale(self) -> float:
        """Longest sides of the object for each step of the depth."""
        return float(self.sample.row["depth_scale"] or 1e-4)

    @property
    def mask_png(self) -> bytes:
        return self.render_files["mask.png"] if self.scale == (1.0, 1.0) else to_png(self.mask)

    @property
    def depth_png(self) -> bytes:
        return self.render_files["depth.png"] if self.scale == (1.0, 1.0) else to_png(self.depth)

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """First column, first row, last column, last row of the mask."""
        columns, rows = np.flatnonzero(self.mask.any(axis=0)), np.flatnonzero(self.mask.any(axis=1))
        return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])

    @cached_property
    def box3d(self) -> list[list[float]]:
        """The eight projected corners of the canonical bounding box, 8x2: x fastest, then y, then z, each from - to +."""
        sx, sy = self.scale
        return [[(x + 0.5) * sx - 0.5, (y + 0.5) * sy - 0.5] for x, y in self.sample.row["box3d"]]

    def annotation(self) -> dict[str, Any]:
        """Return the whole annotation as JSON types, for formats with room of their own."""
        return {
            "width": self.width,
            "height": self.height,
            "class_name": self.sample.class_name,
            **self.sample.pose(),
            "K": self.K.tolist(),
            "R": self.sample.R.tolist(),
            "t": self.sample.t.tolist(),
            "box": list(self.box),
            "box3d": self.box3d,
            "box3d_extents": self.sample.row["box3d_extents"],
            "depth_scale": self.depth_scale,
            **self.sample.provenance(),
        }

    def _sized(self, picture: NDArray[Any]) -> NDArray[Any]:
        if picture.shape[:2] == (self.height, self.width):
            return picture
        return np.asarray(cv2.resize(picture, (self.width, self.height), interpolation=cv2.INTER_NEAREST_EXACT))


def load(store: ArtifactStore, sample: ReleaseSample) -> SamplePictures:
    """Return a sample's pictures. Raises ArtifactError where a file is missing or is not what was written."""
    painted = store.get("image", str(sample.row["image_key"]))
    if painted.record.files.get("image.png", {}).get("sha256") != sample.row["sha256"]:
        raise DamagedArtifact(f"image {painted.key[:12]}: the catalog knows another picture under this key")
    image = store.read(painted, "image.png")
    width, height = png_size(image)
    render = store.get("render", str(sample.row["render_key"]))
    files = {name: store.read(render, name) for name in ("mask.png", "depth.png")}
    return SamplePictures(sample=sample, image=image, width=width, height=height, render=render, render_files=files)


def load_each(store: ArtifactStore, samples: Iterable[ReleaseSample]) -> Iterator[SamplePictures]:
    """Yield the pictures of samples, one in memory at a time. Raises LostFiles at the end, naming all that cannot be exported."""
    lost: list[str] = []
    class_name = ""
    for sample in samples:
        try:
            yield load(store, sample)
        except ArtifactError:
            lost.append(str(sample.row["sample_id"]))
            class_name = sample.class_name
    if lost:
        raise LostFiles(lost_line(lost, class_name))


def lost_line(lost: list[str], class_name: str, total: int | None = None) -> str:
    """Return the line that names samples whose files are gone, and what to do."""
    count = total if total is not None else len(lost)
    named = ", ".join(lost[:5]) + (f" and {count - 5} more" if count > 5 else "")
    what = "sample has" if count == 1 else "samples have"
    return (
        f"{count} {what} files that are missing from the store or damaged: {named}; "
        f'make them again (dst run "{class_name}", with the samples and recipe it had) or leave them out with --where'
    )


def png_size(data: bytes) -> tuple[int, int]:
    """Return width and height that PNG bytes state."""
    width, height = struct.unpack(">II", data[16:24])
    return int(width), int(height)
