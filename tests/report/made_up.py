"""A made-up run with pictures: boxes on wheels, projected and painted without Blender, with their true annotation."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storage.report.content import Annotation, Report, ReportModel, ReportSample, StageRow, Status, reasons_of
from storage.report.judging import judged, lowest_yield
from storage.report.thumbnails import thumbnail
from storage.report.verdict import JudgeFacts, RuleFacts, Verdict

SIZE = 256
HOSTILE = '<img src=x onerror="alert(1)">\' & </script>'


def camera(azimuth: float, elevation: float, distance: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return K, R, t of a camera that looks at the origin (OpenCV axes), by the contract's formula."""
    a, e = math.radians(azimuth), math.radians(elevation)
    centre = distance * np.array([math.cos(e) * math.sin(a), -math.cos(e) * math.cos(a), math.sin(e)])
    forward = -centre / np.linalg.norm(centre)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    f = 560 / 512 * SIZE
    return np.array([[f, 0, (SIZE - 1) / 2], [0, f, (SIZE - 1) / 2], [0, 0, 1]]), R, -R @ centre


def project(points: NDArray[Any], K: NDArray[Any], R: NDArray[Any], t: NDArray[Any]) -> NDArray[Any]:
    seen = (K @ (R @ points.T + t[:, None])).T
    return seen[:, :2] / seen[:, 2:]


def corners(low: NDArray[Any], high: NDArray[Any]) -> NDArray[Any]:
    """x fastest, then y, then z."""
    return np.array([[(low, high)[i & 1][0], (low, high)[i >> 1 & 1][1], (low, high)[i >> 2 & 1][2]] for i in range(8)])


def paint(rng: np.random.Generator, azimuth: float, elevation: float, distance: float) -> dict[str, Any]:
    """Return rgba, its edges and annotation of a box on wheels whose hood is at the front (y < 0)."""
    K, R, t = camera(azimuth, elevation, distance)
    colour = rng.integers(60, 235, 3)
    rgba = np.zeros((SIZE, SIZE, 4), np.uint8)
    faces = [(0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5), (4, 5, 7, 6), (0, 1, 3, 2)]
    normals = np.array([[0, -1, 0], [0, 1, 0], [-1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, -1]], float)
    light = np.array([-0.4, -0.5, 0.77])
    boxes = [((-0.21, -0.5, -0.12), (0.21, 0.5, 0.02), colour), ((-0.18, -0.12, 0.02), (0.18, 0.42, 0.17), colour * 0.75)]
    wheels = [(x, y) for x in (-0.19, 0.19) for y in (-0.3, 0.3)]
    boxes += [((x - 0.04, y - 0.08, -0.17), (x + 0.04, y + 0.08, -0.02), np.array([40, 40, 44])) for x, y in wheels]
    eye = -R.T @ t
    polygons = []
    for low, high, paint_ in boxes:
        points = corners(np.array(low), np.array(high))
        for face, normal in zip(faces, normals, strict=True):
            middle = points[list(face)].mean(0)
            if normal @ (eye - middle) > 0:
                shade = 0.45 + 0.55 * max(0.0, float(normal @ light))
                polygons.append((float(np.linalg.norm(eye - middle)), points[list(face)], paint_ * shade))
    for _, points, shade in sorted(polygons, key=lambda polygon: -polygon[0]):
        flat = np.round(project(points, K, R, t) * 16).astype(np.int32)
        cv2.fillPoly(rgba, [flat], [*map(float, np.clip(shade, 0, 255)), 255.0], lineType=cv2.LINE_8, shift=4)
    mask = rgba[..., 3] > 0
    rows, columns = np.nonzero(mask)
    ends = project(corners(np.array([-0.23, -0.5, -0.17]), np.array([0.23, 0.5, 0.17])), K, R, t)
    annotation = Annotation(
        width=SIZE,
        height=SIZE,
        box=(float(columns.min()), float(rows.min()), float(columns.max()), float(rows.max())),
        box3d=tuple((float(x), float(y)) for x, y in ends),
        K=tuple(map(tuple, K.tolist())),
        R=tuple(map(tuple, R.tolist())),
        t=tuple(t.tolist()),
        visible_fraction=1.0,
        truncated_fraction=0.0,
    )
    edges = cv2.Canny(np.where(mask[..., None], rgba[..., :3], 128).astype(np.uint8), 60, 120)
    return {"rgba": rgba, "edges": edges, "annotation": annotation}


def scene(rng: np.random.Generator, rgba: NDArray[Any]) -> NDArray[Any]:
    """Return an opaque picture: the render on some ground under some sky, with noise."""
    sky, ground = rng.integers(120, 240, 3), rng.integers(50, 170, 3)
    horizon = int(SIZE * rng.uniform(0.35, 0.6))
    picture = np.empty((SIZE, SIZE, 3), float)
    picture[:horizon], picture[horizon:] = sky, ground
    picture += np.linspace(-25, 25, SIZE)[:, None, None]
    picture = cv2.GaussianBlur(picture, (0, 0), 6)
    alpha = rgba[..., 3:] / 255.0
    picture = picture * (1 - alpha) + rgba[..., :3] * alpha
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)


def run_report(
    samples: int = 24, class_name: str = "car", models: int = 4, hostile: bool = False, seed: int = 0, kinds: int = 1
) -> Report:
    """Return a made-up run, the same for the same arguments. `kinds`: controls of each sample."""
    rng = np.random.default_rng(seed)
    words = ("hatchback", "estate", "coupe", "van", "pickup", "roadster")[:models]
    names = [HOSTILE if hostile and i == 0 else f"{word}.glb" for i, word in enumerate(words)]
    ids = [hashlib.sha256(f"{class_name}{name}".encode()).hexdigest() for name in names]
    rows: list[ReportSample] = []
    threshold = 6.2
    for i in range(samples):
        azimuth, elevation = float(rng.uniform(0, 360)), float(np.clip(rng.normal(22, 20), -60, 85))
        distance = float(np.clip(rng.normal(1.9, 0.3), 1.4, 2.9))
        score = float(rng.gamma(6, 0.55)) + (3.5 if rng.uniform() < 0.08 else 0)
        painted = paint(rng, azimuth, elevation, distance)
        failed = i % 17 == 11
        status: Status = "failed" if failed else "dropped" if score > threshold else "kept"
        drawing, picture = thumbnail(painted["rgba"]), thumbnail(scene(rng, painted["rgba"]))
        controls = (("canny", thumbnail(painted["edges"])), ("depth", thumbnail(painted["rgba"][..., 3])))[:kinds]
        colour, side = (
            ("red", "blue", "white")[i % 3],
            "seen from the front" if math.cos(math.radians(azimuth)) > 0 else "seen from behind",
        )
        caption = f"a photo of a {colour} {class_name}, city street, wet asphalt, soft evening light, {side}"
        rows.append(
            ReportSample(
                sample_id=f"{class_name.replace(' ', '_')}-{ids[i % models][:12]}-{i // models:04d}-00",
                cad_id=ids[i % models],
                cad_name=names[i % models],
                view_index=i // models,
                status=status,
                stage="image" if failed else "",
                reason="black_image" if failed else "pose_inconsistent" if status == "dropped" else "",
                detail="mean 0.4 of 255 after 2 attempts" if failed else "",
                azimuth_deg=azimuth,
                elevation_deg=elevation,
                inplane_deg=0.0,
                distance=distance,
                caption=HOSTILE if hostile and i % 5 == 0 else caption,
                seed=None if failed else int(rng.integers(2**63)),
                attempt=None if failed else 0,
                scores={} if failed else {"kcf": score, "kcf_azimuth": score * 0.5, "fidelity": float(rng.beta(6, 3))},
                annotation=painted["annotation"],
                render=drawing,
                controls=controls,
                image=None if failed else picture,
            )
        )
    counts = {status: sum(row.status == status for row in rows) for status in ("kept", "dropped", "failed")}
    reasons = reasons_of([(row.stage, row.reason) for row in rows if row.status == "failed"])
    cads = tuple(
        ReportModel(
            cad_id=cad_id,
            name=name,
            source="bundled",
            keywords=("five doors", "alloy wheels"),
            faces=int(rng.integers(900, 90_000)),
            licence="MIT",
            warnings=("texture_missing: wheels.png; shown without it",),
            thumbnail=next((row.render for row in rows if row.cad_id == cad_id), None),
            made=sum(row.cad_id == cad_id and row.status != "failed" for row in rows),
            kept=sum(row.cad_id == cad_id and row.status == "kept" for row in rows),
            dropped=sum(row.cad_id == cad_id and row.status == "dropped" for row in rows),
            failed=sum(row.cad_id == cad_id and row.status == "failed" for row in rows),
        )
        for cad_id, name in zip(ids, names, strict=True)
    )
    times = {
        "cad": 1.2,
        "render": 41.3,
        "control": 0.8,
        "caption": 0.3,
        "image": 96.0,
        "score": 22.1,
        "verdict": 0.3,
        "catalog": 0.9,
    }
    verdict = _verdict(class_name, threshold, samples, counts)
    scored = {
        name: [(row.scores[name], row.status, row.reason, row.sample_id) for row in rows if row.scores]
        for name in ("kcf", "fidelity", "kcf_azimuth")
    }
    images = {row.sample_id: row.image for row in rows}
    dropped = [(row.cad_id, row.reason, row.sample_id) for row in rows if row.status == "dropped"]
    return Report(
        run_id="0195f3c2a1b84c6e9d3f",
        class_name=class_name,
        recipe="embedded",
        status="complete",
        asked=samples,
        samples=tuple(rows),
        poses=tuple((row.azimuth_deg or 0.0, row.elevation_deg or 0.0, row.status, row.sample_id) for row in rows),
        distances=tuple((row.distance or 0.0, row.status) for row in rows),
        scores={name: tuple(value[:2] for value in values) for name, values in scored.items()},
        drops=tuple((row.azimuth_deg or 0.0, row.elevation_deg or 0.0, row.reason) for row in rows if row.status != "failed"),
        verdict=verdict,
        judged=judged(verdict, scored, sum(row.status != "failed" for row in rows), images.get),
        low_yield=lowest_yield(cads, dropped, images.get),
        counts=counts,
        stages=tuple(
            StageRow(
                stage=stage,
                made=samples - sum(n for _, n in reasons.get(stage, ())),
                failed=sum(n for _, n in reasons.get(stage, ())),
                reasons=reasons.get(stage, ()),
                seconds=seconds,
            )
            for stage, seconds in times.items()
        ),
        wall_s=sum(times.values()),
        cad_models=cads,
        specs={
            "viewpoint": {"strategy": "3", "azimuth_range": [0, 360], "polar_mean": 60, "polar_sd": 20},
            "render": {"resolution": 128, "samples": 2, "denoiser": "fast", "light": {"kind": "area", "energy": 100}},
            "controls": {"canny": {"kind": "canny", "low": 100, "high": 200, "aperture": 3}},
            "caption": {"captioner": "grammar", "max_tokens": 77},
            "image": {
                "model": "embedded",
                "revision": "3b1f",
                "scheduler": "ddim",
                "steps": 20,
                "guidance": 5,
                "control_scale": 1.0,
                "eta": 0,
            },
            "verdict": {"rules": {"pose": {"kind": "at_most", "score": "kcf", "threshold": threshold}}},
        },
        provenance=(
            ("code version", "0.1.0 (a1b2c3d)"),
            ("generator", "embedded@3b1f0c"),
            ("machine", "2 cores, x86_64, Linux"),
            ("started", "2026-11-22 08:14:03 UTC"),
            ("run", "0195f3c2a1b84c6e9d3f"),
        ),
    )


def _verdict(class_name: str, threshold: float, samples: int, counts: dict[str, int]) -> Verdict:
    return Verdict(
        class_name=class_name,
        words=f"kept: kcf at most {threshold}; fidelity at least 0.25",
        rules=(
            RuleFacts(
                name="pose",
                kind="at_most",
                score="kcf",
                reason="pose_inconsistent",
                threshold=threshold,
                words=f"kcf at most {threshold}",
            ),
            RuleFacts(
                name="control",
                kind="at_least",
                score="fidelity",
                reason="control_lost",
                threshold=0.25,
                words="fidelity at least 0.25",
            ),
        ),
        judges=(
            JudgeFacts(name="fidelity", judged=samples - counts["failed"], not_judged=None),
            JudgeFacts(name="kcf", judged=samples - counts["failed"], not_judged=None, facts={"words": "4 folds by CAD model"}),
        ),
        kept=counts["kept"],
        dropped=counts["dropped"],
        unjudged=0,
    )
