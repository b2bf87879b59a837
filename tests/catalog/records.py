"""Made-up records with the shapes that the stages write, and the cohorts made of them. No pixels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.render.spec import ViewpointSpec
from models.render.viewpoint import sample_view
from models.sample import SampleId
from storage.artifacts import Artifact, ArtifactStore, Record
from storage.keys import artifact_key, digest, plain
from storage.stages import FILE

SIZE = 128
RENDER_SPEC = {
    "resolution": SIZE,
    "viewpoint": plain(ViewpointSpec()),
    "light": {"kind": "sampled"},
}
SPECS: Mapping[str, dict[str, Any]] = {
    "cad": {"up": "auto", "front": "auto"},
    "render": RENDER_SPEC,
    "control": {"kind": "canny", "low": 100, "high": 200},
    "caption": {"captioner": "grammar"},
    "image": {"model": "embedded", "steps": 20},
    "kcf": {"kind": "kcf", "folds": 5},
    "fidelity": {"kind": "fidelity"},
    "verdict": {
        "pose": {"kind": "at_most", "score": "kcf", "threshold": 2.0, "reason": "pose_inconsistent"},
        "control": {"kind": "at_least", "score": "fidelity", "threshold": 0.25, "reason": "control_lost"},
    },
}


@dataclass(frozen=True, kw_only=True)
class History:
    """One sample's records, in the order in which stages make them."""

    sample: SampleId
    records: dict[str, Record]
    """Stage -> record; with several controls, a second one's is at `control:kind`."""

    @property
    def made(self) -> bool:
        """Whether there is an image."""
        return "image" in self.records and self.records["image"].outcome == "made"

    def controls(self) -> dict[str, str]:
        """Kind -> key of its controls."""
        made = [record for record in self.records.values() if record.stage == "control"]
        return {record.spec["kind"]: record.key for record in made}

    def member(self, verdict_key: str | None = None) -> dict[str, Any]:
        """The sample as a member of a cohort."""
        failed = next((record for record in self.records.values() if record.outcome == "failed"), None)
        keys = {f"{stage}_key": record.key for stage, record in self.records.items() if ":" not in stage}
        return {
            **dataclasses.asdict(self.sample),
            "sample_id": str(self.sample),
            **keys,
            "controls": self.controls(),
            "verdict_key": verdict_key,
            "status": "failed" if failed else "made",
            "stage": failed.stage if failed else None,
            "reason": failed.reason if failed else None,
            "detail": failed.detail if failed else None,
        }


def cad_id(number: int) -> str:
    return digest(f"cad model {number}".encode())


def history(
    class_name: str, number: int, view_index: int, *, fails_at: str | None = None, recipe: str = "", also: Iterable[str] = ()
) -> History:
    """Return the records of one sample; with `fails_at`, that stage failed and later ones never ran. also: further controls."""
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
            files=described(key, *files),
            created_at="2026-01-01T00:00:00Z",
        )  # fmt: skip

    add("cad", {"cad_id": sample.cad_id}, cad_values(), ("model.glb",))
    add("render", {**identity, "cad": records["cad"].key}, annotation(sample), ("rgba.png", "mask.png"))
    if "render" in records:
        add("control", {"render": records["render"].key}, {"pixels": 900, "density": 0.05}, ("control.png",))
        for kind in also if "control" in records else ():
            key = artifact_key("control", 1, {"kind": kind}, records["control"].inputs)
            facts = {"pixels": 9000, "density": 0.5, "nearest": 0.8}
            records[f"control:{kind}"] = dataclasses.replace(
                records["control"], key=key, spec={"kind": kind}, values=facts, files=described(key, "control.png")
            )
    if "control" in records:
        identity = {**identity, "draw_index": 0}
        controls = {r.spec["kind"]: r.key for r in records.values() if r.stage == "control"}
        words = {"colour": "red", "material": "steel", "scene": "a street", "light": "noon", "viewpoint": "from above"}
        caption = {"prompt": f"a photo of a red {class_name}", "negative_prompt": "blurry", "words": words}
        captioner = {"captioner": "grammar", "captioner_revision": "1"}
        add("caption", {**identity, "keywords": ["fast"]}, {**caption, **captioner}, ("caption.json",))
    if "caption" in records:
        values = {"seed": sample.seed("image"), "attempt": 0, "model_id": "embedded", "model_revision": "abc", "mean": 0.5}
        inputs = {**identity, "controls": controls, "caption": records["caption"].key}
        add("image", inputs, values, ("image.png",))
    return History(sample=sample, records=records)


def content(key: str, name: str) -> bytes:
    """Return the bytes of a made-up file: 1000, and no two files' alike."""
    return f"{name} of {key} ".encode().ljust(1000, b".")


def described(key: str, *names: str) -> dict[str, dict[str, Any]]:
    """Return what a record says of made-up files."""
    return {name: {"sha256": digest(content(key, name)), "bytes": 1000} for name in names}


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


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What judges and rules say of some images: records, and what is in their files."""

    scores: tuple[Record, ...]
    """A record for each judge."""
    verdict: Record
    """The verdict's record."""
    rows: list[dict[str, Any]]
    """What is in verdicts.json."""

    @property
    def key(self) -> str:
        """The verdict's key."""
        return self.verdict.key

    def put(self, store: ArtifactStore) -> list[Artifact]:
        """Write all of it into a store."""
        measured = json.dumps([{name: row[name] for name in ("sample_id", "image_key", "scores")} for row in self.rows]).encode()
        put = [store.put(record, {FILE["score"]: measured}) for record in self.scores]
        return [*put, store.put(self.verdict, {FILE["verdict"]: json.dumps(self.rows).encode()})]


def verdict(histories: Iterable[History], class_name: str, judges: Sequence[str] = ("kcf", "fidelity")) -> Judged:
    """Return the verdict over the histories' images: every fifth is dropped where `kcf` judged; without any judge, nothing is."""
    keys = sorted(history.records["image"].key for history in histories)
    inputs = {"class_name": class_name, "images": keys, "heard": list(judges)}
    rows = [_judged(i, key, judges) for i, key in enumerate(keys)]
    decisions = [row["kept"] for row in rows]
    heard = {"judged": len(keys), "not_judged": None}
    silent = {"judged": 0, "not_judged": "too few images"}
    facts = {judge: {"judge": judge, **(heard if judge in judges else silent)} for judge in ("kcf", "fidelity")}
    scores = tuple(
        Record(
            key=artifact_key("score", 1, SPECS[judge], inputs), stage="score", version=1, spec=SPECS[judge], inputs=inputs,
            values=facts[judge], created_at="2026-01-01T00:00:00Z",
        )
        for judge in ("kcf", "fidelity")
    )  # fmt: skip
    dropped = decisions.count(False)
    values = {
        "kept": decisions.count(True), "dropped": dropped, "not_judged": decisions.count(None),
        "reasons": {"pose_inconsistent": dropped} if dropped else {},
        "rule": "kcf <= 2; fidelity >= 0.25" if judges else "too few images",
        "rules": [{"name": name, "words": f"{rule['score']} decides", **rule} for name, rule in SPECS["verdict"].items()],
        "judges": facts,
    }  # fmt: skip
    inputs = {**inputs, "scores": {score.values["judge"]: score.key for score in scores}}
    record = Record(
        key=artifact_key("verdict", 1, SPECS["verdict"], inputs), stage="verdict", version=1, spec=SPECS["verdict"],
        inputs=inputs, values=values, created_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    return Judged(scores=scores, verdict=record, rows=rows)


def _judged(number: int, image_key: str, judges: Sequence[str]) -> dict[str, Any]:
    suspect = number % 5 == 0 and "kcf" in judges
    measured = {
        "kcf": 3.0 if suspect else 1.0, "kcf_azimuth": 1.0, "kcf_elevation": 0.5, "kcf_inplane": 0.25, "kcf_disagreement": 0.1,
        "fidelity": 0.9,
    }  # fmt: skip
    return {
        "sample_id": f"sample {number}",
        "image_key": image_key,
        "kept": not suspect if judges else None,
        "reason": "pose_inconsistent" if suspect else None,
        "words": "kcf: does not look as annotated" if suspect else None,
        "scores": {name: value if name.split("_")[0] in judges else None for name, value in measured.items()},
    }


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
