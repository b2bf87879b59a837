"""Made-up records with the shapes that the stages write, and the cohorts made of them. No pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.render.spec import ViewpointSpec
from models.render.viewpoint import sample_view
from models.sample import SampleId
from storage.artifacts import Artifact, ArtifactStore, Record
from storage.keys import artifact_key, digest, plain

SIZE = 128
RENDER_SPEC = {
    "resolution": SIZE,
    "viewpoint": plain(ViewpointSpec()),
    "light": {"kind": "sampled"},
}
SPECS: Mapping[str, dict[str, Any]] = {
    "cad": {"up": "auto", "front": "auto"},
    "render": RENDER_SPEC,
    "edge": {"source": "canny", "low": 100, "high": 200},
    "caption": {"captioner": "grammar"},
    "image": {"model": "embedded", "steps": 20},
    "verdict": {"folds": 5},
}


@dataclass(frozen=True, kw_only=True)
class History:
    """One sample's records, in the order in which stages make them."""

    sample: SampleId
    records: dict[str, Record]

    def member(self, verdict_key: str | None = None) -> dict[str, Any]:
        """The sample as a member of a cohort."""
        failed = next((record for record in self.records.values() if record.outcome == "failed"), None)
        keys = {f"{stage}_key": record.key for stage, record in self.records.items()}
        return {
            **dataclasses.asdict(self.sample),
            "sample_id": str(self.sample),
            **keys,
            "verdict_key": verdict_key,
            "status": "failed" if failed else "made",
            "stage": failed.stage if failed else None,
            "reason": failed.reason if failed else None,
            "detail": failed.detail if failed else None,
        }


def cad_id(number: int) -> str:
    return digest(f"cad model {number}".encode())


def history(class_name: str, number: int, view_index: int, *, fails_at: str | None = None, recipe: str = "") -> History:
    """Return the records of one sample; with `fails_at`, that stage failed and later ones never ran."""
    sample = SampleId(class_name=class_name, cad_id=cad_id(number), view_index=view_index)
    identity = {"class_name": class_name, "cad_id": sample.cad_id, "view_index": view_index}
    records: dict[str, Record] = {}

    def add(stage: str, inputs: dict[str, Any], values: dict[str, Any], files: tuple[str, ...]) -> None:
        if any(record.outcome == "failed" for record in records.values()):
            return
        spec = {**SPECS[stage], "recipe": recipe} if recipe and stage == "caption" else SPECS[stage]
        key = artifact_key(stage, 1, spec, inputs)
        if stage == fails_at:
            records[stage] = Record(
                key=key, stage=stage, version=1, spec=spec, inputs=inputs, outcome="failed", reason=f"no_{stage}",
                detail=f"the {stage} could not be made", created_at="2026-01-01T00:00:00Z",
            )  # fmt: skip
            return
        records[stage] = Record(
            key=key, stage=stage, version=1, spec=spec, inputs=inputs, values=values, runtime={"seconds": 0.1},
            files={name: {"sha256": digest(content(key, name)), "bytes": 1000} for name in files},
            created_at="2026-01-01T00:00:00Z",
        )  # fmt: skip

    add("cad", {"cad_id": sample.cad_id}, cad_values(), ("model.glb",))
    add("render", {**identity, "cad": records["cad"].key}, annotation(sample), ("rgba.png", "mask.png"))
    if "render" in records:
        add("edge", {"render": records["render"].key}, {"edge_pixels": 900, "edge_density": 0.05}, ("edge.png",))
    if "edge" in records:
        identity = {**identity, "draw_index": 0}
        words = {"colour": "red", "material": "steel", "scene": "a street", "light": "noon", "viewpoint": "from above"}
        caption = {"prompt": f"a photo of a red {class_name}", "negative_prompt": "blurry", "words": words}
        captioner = {"captioner": "grammar", "captioner_revision": "1"}
        add("caption", {**identity, "keywords": ["fast"]}, {**caption, **captioner}, ("caption.json",))
    if "caption" in records:
        values = {"seed": sample.seed("image"), "attempt": 0, "model_id": "embedded", "model_revision": "abc", "mean": 0.5}
        inputs = {**identity, "edge": records["edge"].key, "caption": records["caption"].key}
        add("image", inputs, values, ("image.png",))
    return History(sample=sample, records=records)


def content(key: str, name: str) -> bytes:
    """Return the bytes of a made-up file: 1000, and no two files' alike."""
    return f"{name} of {key} ".encode().ljust(1000, b".")


def cad_values() -> dict[str, Any]:
    return {
        "source_name": "model.obj", "faces": 120, "vertices": 80, "extents": [1.0, 2.0, 0.5], "watertight": True,
        "textured": False,
    }  # fmt: skip


def annotation(sample: SampleId) -> dict[str, Any]:
    """Return render values with the pose that belongs to the sample."""
    view = sample_view(ViewpointSpec(), sample.view)
    return {
        **dataclasses.asdict(view), "requested_distance": view.distance, "K": np.eye(3).tolist(), "R": np.eye(3).tolist(),
        "t": [0.0, 0.0, view.distance],
        "width": SIZE, "height": SIZE, "box": [10.0, 20.0, 100.0, 90.0], "box3d": [[0.0, 0.0]] * 8,
        "box3d_extents": [1.0, 0.5, 0.4], "visible_fraction": 1.0, "truncated_fraction": 0.0, "depth_scale": 1e-4,
        "light": {"kind": "sampled", "azimuth_deg": 30.0}, "moved_back": False,
    }  # fmt: skip


def verdict(histories: list[History], class_name: str, threshold: float = 2.0) -> Record:
    """Return the verdict record over the histories' images: every fifth is dropped."""
    keys = sorted(history.records["image"].key for history in histories)
    inputs = {"class_name": class_name, "images": keys}
    listed = [
        {
            "image_key": key, "score": 3.0 if i % 5 == 0 else 1.0, "azimuth_score": 1.0, "elevation_score": 0.5,
            "inplane_score": 0.25, "disagreement": 0.1, "edge_score": 0.9, "fold": i % 2, "kept": i % 5 != 0,
            "reason": None if i % 5 else "pose_suspect",
        }
        for i, key in enumerate(keys)
    ]  # fmt: skip
    values = {"threshold": threshold, "rule": "quantile", "folds": "by CAD model", "verdicts": listed}
    return Record(
        key=artifact_key("verdict", 1, SPECS["verdict"], inputs), stage="verdict", version=1, spec=SPECS["verdict"],
        inputs=inputs, values=values, created_at="2026-01-01T00:00:00Z",
    )  # fmt: skip


def cohort(class_name: str, models: int, views: int, *, recipe: str = "") -> list[History]:
    return [history(class_name, model, view, recipe=recipe) for view in range(views) for model in range(models)]


def records(histories: list[History]) -> Iterator[Record]:
    """Yield each record once."""
    seen: set[str] = set()
    for item in histories:
        for record in item.records.values():
            if record.key not in seen:
                seen.add(record.key)
                yield record


def put(store: ArtifactStore, made: Iterable[Record]) -> list[Artifact]:
    """Write records and their made-up files into a store."""
    return [
        store.put(dataclasses.replace(record, files={}), {name: content(record.key, name) for name in record.files})
        for record in made
    ]
