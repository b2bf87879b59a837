"""What others made: captions and images from elsewhere, kept apart from our own.

Enters: rows that storage.foreign has read and checked. Leaves: rows of foreign_captions and foreign_images, the captions a cohort
may take from them, and a verdict on images that came with poses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.caption.imported import ImportedSpec
from models.control.protocol import ControlSpec
from models.sample import SampleId
from models.verdict.decide import Decision, decide, why
from models.verdict.kinds import JUDGES
from models.verdict.spec import VerdictSpec
from storage.cad.collections.ledger import Ledger, stamp
from storage.catalog.catalog import Catalog
from storage.foreign.official import BadAnnotation, ForeignImage, pose_of, read_annotation
from storage.keys import canonical_json, digest
from tasks import progress
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Captions:
    """All captions of a class from one origin."""

    revision: str
    """Digest of the captions and of what they belong to."""
    by_uid: Mapping[str | None, tuple[str, ...]]
    """A CAD model's name in its collection (None: of the whole class) -> captions, sorted."""

    def of(self, uid: str | None) -> tuple[str, ...]:
        """Return the captions for a CAD model: its own, else those of the whole class."""
        own = self.by_uid.get(uid, ()) if uid is not None else ()
        return own or self.by_uid.get(None, ()) or tuple(sorted(text for texts in self.by_uid.values() for text in texts))


def captions(catalog: Catalog, class_name: str, origin: str) -> Captions | None:
    """Return the imported captions of a class, None where that origin has none."""
    rows = catalog.foreign_captions(origin, class_name)
    if not rows:
        return None
    pairs = sorted({(row["cad_uid"], row["prompt"]) for row in rows}, key=lambda pair: (pair[0] or "", pair[1]))
    by_uid: dict[str | None, list[str]] = {}
    for uid, prompt in pairs:
        by_uid.setdefault(uid, []).append(prompt)
    return Captions(
        revision=digest(canonical_json([list(pair) for pair in pairs]).encode()),
        by_uid={uid: tuple(texts) for uid, texts in by_uid.items()},
    )


def pinned(catalog: Catalog, class_name: str, recipe: Recipe) -> tuple[Recipe, Captions | None]:
    """Return the recipe with the digest of the captions it imports, and those captions; unchanged where the grammar writes.

    Raises ValueError where there are no such captions, or others than the recipe was pinned to.
    """
    spec = recipe.caption
    if not isinstance(spec, ImportedSpec):
        return recipe, None
    found = captions(catalog, class_name, spec.origin)
    if found is None:
        there = ", ".join(catalog.caption_origins(class_name)) or "none"
        raise ValueError(
            f'no captions of origin "{spec.origin}" for class "{class_name}" (there are: {there}); '
            f"import some: dst import captions FILE.csv --origin {spec.origin}"
        )
    if spec.revision not in ("", found.revision):
        raise ValueError(
            f'the captions of origin "{spec.origin}" for class "{class_name}" have changed: revision {found.revision[:12]} '
            f"is here, {spec.revision[:12]} was asked for; leave the revision out to take what is here"
        )
    return replace(recipe, caption=replace(spec, revision=found.revision)), found


def captions_of(catalog: Catalog, class_name: str, recipe: Recipe) -> Captions | None:
    """Return the captions that a recorded recipe takes its prompts from, as they are now; None where the grammar writes."""
    spec = recipe.caption
    return captions(catalog, class_name, spec.origin) if isinstance(spec, ImportedSpec) else None


def number_of(uid: str | None, prompt: str, taken: set[int]) -> int:
    """Return the number a caption is kept under: the same for the same caption, whatever it is imported with."""
    number = int(digest(canonical_json([uid, prompt]).encode())[:7], 16)
    while number in taken:
        number += 1
    taken.add(number)
    return number


def add_captions(catalog: Catalog, origin: str, found: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Add captions (class_name, cad_uid, prompt) to an origin; return class -> how many of them were new."""
    new: dict[str, int] = {}
    for class_name in sorted({row["class_name"] for row in found}):
        rows = catalog.foreign_captions(origin, class_name)
        there = {(row["cad_uid"], row["prompt"]) for row in rows}
        taken = {int(row["number"]) for row in rows}
        wanted = dict.fromkeys((row["cad_uid"], row["prompt"]) for row in found if row["class_name"] == class_name)
        fresh = [pair for pair in wanted if pair not in there]
        catalog.add_foreign_captions(
            [
                {
                    "origin": origin,
                    "class_name": class_name,
                    "number": number_of(uid, prompt, taken),
                    "cad_uid": uid,
                    "prompt": prompt,
                }
                for uid, prompt in fresh
            ]
        )
        new[class_name] = len(fresh)
    return new


# -- images ------------------------------------------------------------------------------------------------------------


@dataclass
class Taken:
    """What an import of images came to."""

    counts: Counter[str] = field(default_factory=Counter)
    """added, remembered, duplicate, quarantined, without a pose -> how many."""
    classes: Counter[str] = field(default_factory=Counter)
    """class -> images now known of this origin, as far as this import saw them."""
    poseless: Counter[str] = field(default_factory=Counter)
    """Why images have no pose."""


def add_images(place: Place, origin: str, found: Sequence[ForeignImage]) -> Taken:
    """Take in images of a foreign origin, with pose and caption where they are known. What was read is not read again."""
    catalog = place.catalog
    catalog.migrate()
    ledger = Ledger(place.home / "imports" / f"images-{digest(origin.encode())[:12]}.jsonl")
    there = catalog.foreign_image_paths()
    refused = {row["path"] for row in catalog.quarantined()}
    taken = Taken()
    todo: list[ForeignImage] = []
    for image in found:
        entry = ledger.find(image.path, image.class_name, _spelled(origin, image))
        if entry is not None and (entry["image_id"] in there or str(image.path) in refused):
            taken.counts["remembered"] += 1
            taken.classes[image.class_name] += entry["image_id"] is not None
        else:
            todo.append(image)
    with progress.stage("import", origin, len(found), done=len(found) - len(todo)) as bar:
        with ThreadPoolExecutor(max_workers=place.renderers) as pool:
            for start in range(0, len(todo), _IMAGES_AT_ONCE):
                part = todo[start : start + _IMAGES_AT_ONCE]
                rows: dict[str, dict[str, Any]] = {}
                notes: list[dict[str, Any]] = []
                for image, row in zip(part, pool.map(_looked_at, part)):
                    bar.advance()
                    image_id = row.get("image_id")
                    notes.append(
                        {
                            "path": str(image.path),
                            "class_name": image.class_name,
                            "said": _spelled(origin, image),
                            "stamp": stamp(image.path),
                            "image_id": image_id,
                        }
                    )
                    if image_id is None:
                        taken.counts["quarantined"] += 1
                        catalog.quarantine(
                            image.path, reason=row["reason"], detail=row["detail"], origin="import", class_name=image.class_name
                        )
                        continue
                    if str(image.path) in refused:
                        catalog.unquarantine(image.path)
                    if there.setdefault(image_id, str(image.path)) != str(image.path):
                        taken.counts["duplicate"] += 1
                        continue
                    rows[image_id] = row | {"origin": origin}
                    taken.counts["added"] += 1
                    taken.classes[image.class_name] += 1
                    if row["azimuth_deg"] is None:
                        taken.poseless[row["facts"]["no_pose"]] += 1
                catalog.add_foreign_images(list(rows.values()))
                ledger.note(notes)
    return taken


_IMAGES_AT_ONCE = 1000
_REMEMBERED = (
    "source", "shape_id", "strength", "pose_sampling", "focal_length", "sensor_width", "principal",
    "azimuth", "elevation", "theta", "phi", "dist", "camera_rotation",
)  # fmt: skip
"""What of an annotation is kept as it was said; the rest follows from it."""


def _spelled(origin: str, image: ForeignImage) -> str:
    annotated = stamp(image.annotation)
    return digest(canonical_json([origin, image.cad_uid, image.caption, annotated]).encode())[:32]


def _looked_at(image: ForeignImage) -> dict[str, Any]:
    """Return the row of an image, or reason and detail where it is none."""
    from models.render.official import canonical_view
    from storage.images import from_png

    data = image.path.read_bytes()
    try:
        pixels = from_png(data)
    except ValueError as error:
        return {"reason": "unreadable_image", "detail": f"{image.path.name}: {str(error).splitlines()[0]}"}
    facts: dict[str, Any] = {
        "folder": image.folder,
        "width": int(pixels.shape[1]),
        "height": int(pixels.shape[0]),
        "mean": round(float(pixels.mean()), 3),
        "std": round(float(pixels.std()), 3),
    }
    row: dict[str, Any] = {
        "image_id": digest(data),
        "class_name": image.class_name,
        "path": str(image.path),
        "cad_uid": image.cad_uid,
        "caption": image.caption,
        "azimuth_deg": None,
        "elevation_deg": None,
        "inplane_deg": None,
        "distance": None,
        "facts": facts,
    }
    try:
        said = read_annotation(image.annotation)
        pose = pose_of(said)
    except BadAnnotation as error:
        facts["no_pose"] = "no annotation" if not image.annotation.exists() else str(error).partition(":")[0][:80]
        return row
    view = canonical_view(*pose)
    facts["annotation"] = {name: said[name] for name in _REMEMBERED if name in said}
    return row | {
        "azimuth_deg": round(view.azimuth_deg, 6),
        "elevation_deg": round(view.elevation_deg, 6),
        "inplane_deg": round(view.inplane_deg, 6),
        "distance": pose[3],
    }


# -- a verdict on them -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Posed:
    """An image that others made, with its pose, as judges see it (models.verdict.protocol.Evidence)."""

    row: Mapping[str, Any]
    symmetry: int
    controls: Mapping[str, ControlSpec] = field(default_factory=dict)
    """None: nobody says what it was to obey."""
    extents: Sequence[float] | None = None
    """Of its CAD model, where that is registered."""

    @property
    def sample(self) -> SampleId:
        return SampleId(class_name=self.row["class_name"], cad_id=self.row["cad_uid"] or "", view_index=0)

    @property
    def annotation(self) -> Mapping[str, Any]:
        angles = {name: self.row[name] for name in ("azimuth_deg", "elevation_deg", "inplane_deg")}
        return {**angles, "box": None, **self._expected()}

    def _expected(self) -> dict[str, Any]:
        """Return where the corners of its CAD model would be in a picture of `width`, as of a render; {} where nobody knows."""
        import numpy as np

        from models.render.annotation import corners
        from models.render.camera import Camera, intrinsics, rotation
        from models.render.spec import RenderSpec
        from models.render.viewpoint import Pose

        if not self.extents or not self.row["distance"]:
            return {}
        spec, half = RenderSpec(), np.array(self.extents, np.float64) / max(self.extents) / 2
        angles = {name: float(self.row[name]) for name in ("azimuth_deg", "elevation_deg", "inplane_deg", "distance")}
        size, ahead = spec.resolution, np.array([0.0, 0.0, angles["distance"]])
        camera = Camera(K=intrinsics(spec), R=rotation(Pose(**angles)), t=ahead, width=size, height=size)
        return {"box3d": camera.project(corners(-half, half)).tolist(), "width": size}

    def image(self) -> Any:
        from storage.images import from_png

        pixels = from_png(Path(self.row["path"]).read_bytes())
        return pixels[..., None].repeat(3, axis=2) if pixels.ndim == 2 else pixels[..., :3]

    def control(self, kind: str) -> Any:
        raise KeyError(kind)

    @property
    def class_name(self) -> str:
        return str(self.row["class_name"])

    @property
    def caption(self) -> str:
        return ""

    @property
    def keywords(self) -> tuple[str, ...]:
        return ()

    def mask(self) -> None:
        """Nobody rendered it here."""

    def depth(self) -> None:
        """As mask."""

    def normals(self) -> None:
        """As mask."""


def _posed(row: Mapping[str, Any], model: Mapping[str, Any]) -> _Posed:
    """Return an image as judges see it; model: the row of its CAD model, {} where that is not registered."""
    symmetry = model.get("symmetry")
    return _Posed(row=row, symmetry=1 if symmetry is None else int(symmetry), extents=model.get("extents"))


def judge(
    place: Place,
    origin: str,
    class_name: str,
    spec: VerdictSpec,
    tell: Callable[[int, int], None] | None = None,
    readouts: Mapping[str, bytes] | None = None,
) -> Decision:
    """Let the judges and rules of `spec` decide over the images of a class from an origin, by the poses they came with.

    readouts: judge -> what the class's CAD models have taught it; one that is taught and has none says nothing.

    `kept` of each image becomes 1, 0 or NULL for one that nothing could judge, and its facts say scores, reason and rules. Images
    without a pose, or that have gone, are left as they are. Raises ValueError when there is nothing to judge.
    """
    import numpy as np

    catalog = place.catalog
    rows = catalog.foreign_images(origin, class_name)
    posed = [row for row in rows if row["azimuth_deg"] is not None and Path(row["path"]).is_file()]
    if not posed:
        known = ", ".join(f'"{one}" {name}' for one, name in catalog.posed_foreign_images()) or "none"
        raise ValueError(f'no images with poses of origin "{origin}" in class "{class_name}"; imported are: {known}')
    known_models = {row["uid"]: row for row in catalog.cad_models(class_name) if row["uid"] is not None}
    evidence = [_posed(row, known_models.get(row["cad_uid"], {})) for row in posed]
    scores: dict[str, Any] = {}
    # Those that read what others say come behind them.
    for name, one in sorted(spec.judges.items(), key=lambda item: (bool(item[1].reads), item[0])):
        needs: dict[str, Any] = {"scores": dict(scores)} if one.reads else {}
        if one.taught_by() is not None:
            if name not in (readouts or {}):
                continue
            needs["readout"] = (readouts or {})[name]
        scores |= JUDGES.load(one, device=place.device, threads=place.threads, **needs).judge(evidence, tell).scores
    decision = decide(scores, spec.rules, len(posed))
    judged = []
    for i, row in enumerate(posed):
        found = {name: None if np.isnan(values[i]) else round(float(values[i]), 4) for name, values in scores.items()}
        rule = decision.failed[i]
        words = None if rule is None else why(spec.rules[rule], spec.judges, found, evidence[i].annotation)
        verdict = {
            "scores": found,
            "reason": decision.reasons[i],
            "words": words,
            "rule": decision.words,
            "rules": list(decision.rules),
        }
        kept = decision.kept[i]
        judged.append({**row, "kept": None if kept is None else int(kept), "facts": {**(row["facts"] or {}), "verdict": verdict}})
    for start in range(0, len(judged), _IMAGES_AT_ONCE):
        catalog.add_foreign_images(judged[start : start + _IMAGES_AT_ONCE])
    return decision
