"""How well a generator obeys: edges, class, colour, scene, viewpoint, on CAD models it has never seen.

Enters: a generator's spec, the training world's shards (to train the readouts on renders only). Leaves: figures, each beside
what the renders themselves reach (the most a readout can say) and what is reached with the control switched off or exchanged
(chance).

    python -m models.training.evaluate --pictures world --out evaluation [--model FOLDER] [--samples 96]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.image.spec import ImageSpec
from models.sample import SampleId
from models.training import dataset
from models.training.spec import STAGES

REACH = 2
"""An edge is found again when the other map has one within so many pixels (at 128 px)."""
CANNY = (60, 120)
"""Thresholds with which edges are found again in a picture."""
SECTORS = 8
"""Sides that a viewpoint readout tells apart."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A view of a CAD model that no training saw, with what is asked for and a render that shows it."""

    sample: SampleId
    rgb: NDArray[np.uint8]
    edges: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    words: dict[str, Any]
    prompt: str
    azimuth_deg: float
    elevation_deg: float


def cases(count: int, classes: Sequence[str], source: str = "canny") -> list[Case]:
    """Return `count` views of parametric CAD models whose seeds are reserved for evaluation, classes dealt round."""
    from models.world import picture
    from models.world.spec import EVALUATION_SEED, WorldSpec

    spec, turn = WorldSpec(), 0
    made: list[Case] = []
    while len(made) < count:
        class_name, seed = classes[turn % len(classes)], EVALUATION_SEED + turn // len(classes)
        turn += 1
        traced = picture.trace(spec, picture.Placed(class_name=class_name, cad_seed=seed, view_index=0))
        if traced is None:
            continue
        painted = picture.paint(traced, 0)
        identity = SampleId(class_name=class_name, cad_id=f"parametric-{seed}", view_index=0)
        edges = traced.edge_canny if source == "canny" else traced.edge_geometry
        made.append(
            Case(
                sample=identity,
                rgb=painted.rgb,
                edges=edges,
                mask=traced.mask,
                words=dict(painted.words),
                prompt=painted.captions[0],
                azimuth_deg=traced.pose.azimuth_deg,
                elevation_deg=traced.pose.elevation_deg,
            )
        )
    return made


def edge_agreement(picture: NDArray[np.uint8], edges: NDArray[np.uint8], mask: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Return recall, precision and F1 of the control's edges in a picture, within REACH px, on the object and its outline."""
    import cv2

    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1, 2 * REACH + 1))
    region = cv2.dilate(mask, near) > 0
    asked = (edges > 0) & region
    found = (cv2.Canny(picture, *CANNY) > 0) & region
    recall = float((cv2.dilate(found.astype(np.uint8), near) > 0)[asked].mean()) if asked.any() else float("nan")
    precision = float((cv2.dilate(asked.astype(np.uint8), near) > 0)[found].mean()) if found.any() else 0.0
    total = recall + precision
    return recall, precision, 2 * recall * precision / total if total > 0 else 0.0


Features = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float64]]


def shape_features(picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return gradient histograms of the picture around the object."""
    import cv2

    rows, columns = np.nonzero(mask)
    middle_y, middle_x = (int(values.min() + values.max()) // 2 for values in (rows, columns))
    half = max(12, int(0.6 * max(np.ptp(rows), np.ptp(columns))))
    padded = cv2.copyMakeBorder(picture, half, half, half, half, cv2.BORDER_REPLICATE)
    crop = cv2.resize(
        padded[middle_y : middle_y + 2 * half, middle_x : middle_x + 2 * half], (64, 64), interpolation=cv2.INTER_AREA
    )
    described = cv2.HOGDescriptor((64, 64), (16, 16), (8, 8), (8, 8), 9).compute(crop)
    return np.asarray(described, np.float64).ravel()


def object_colour(picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how the object's pixels are coloured: quantiles of lightness and colour, and a coarse histogram of hues."""
    return _colour(picture, mask > 0)


def ground_colour(picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how what surrounds the object is coloured and how rough it is, below and above the middle."""
    import cv2

    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64)
    rough = np.abs(cv2.Laplacian(grey, cv2.CV_64F))
    parts = []
    for band in (slice(0, 64), slice(64, 128)):
        outside = mask[band] == 0
        if not outside.any():
            outside = np.ones_like(outside)
        parts += [_colour(picture[band], outside), np.quantile(rough[band][outside], (0.5, 0.9)) / 50.0]
    return np.concatenate(parts)


def _colour(picture: NDArray[np.uint8], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    import cv2

    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)[chosen].astype(np.float64) / 255.0
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[chosen]
    weight = hsv[:, 1] / 255.0 * hsv[:, 2] / 255.0
    hues = np.histogram(hsv[:, 0], bins=18, range=(0, 180), weights=weight)[0] / max(1, len(hsv))
    return np.concatenate([np.quantile(lab, (0.1, 0.3, 0.5, 0.7, 0.9), axis=0).ravel(), 4.0 * hues])


def sector(azimuth_deg: float) -> int:
    """Return which of SECTORS sides a camera sees."""
    return int(((azimuth_deg % 360.0) + 180.0 / SECTORS) // (360.0 / SECTORS)) % SECTORS


@dataclass(frozen=True)
class Readout:
    """A classifier trained on rendered pictures of the training world, and nothing else."""

    features: Features
    model: Any

    def right(self, pictures: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]], labels: Sequence[Any]) -> float:
        """Return the share of pictures in which it reads the label."""
        described = np.stack([self.features(picture, mask) for picture, mask in zip(pictures, masks, strict=True)])
        return float(np.mean(self.model.predict(described) == np.asarray(labels)))


def readouts(folder: Path, limit: int = 6000) -> dict[str, Readout]:
    """Train the readouts on at most `limit` pictures of the world's shards."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    pictures, masks, rows = [], [], []
    for name in dataset.complete(folder):
        shard = dataset.open_shard(folder, name)
        mask = np.load(folder / name / "mask.npy", mmap_mode="r")
        for index, row in enumerate(shard.rows):
            # Two appearances of a view teach the readouts what all four would.
            if row["appearance_index"] < 2:
                pictures.append(np.asarray(shard.rgb[index]))
                masks.append(np.asarray(mask[index]))
                rows.append(row)
        if len(rows) >= limit:
            break
    labels: dict[str, tuple[Features, list[Any], Any]] = {
        "class": (shape_features, [row["class_name"] for row in rows], "curved"),
        "side": (shape_features, [sector(row["azimuth_deg"]) for row in rows], "curved"),
        "colour": (object_colour, [row["words"]["colour"] for row in rows], "trees"),
        "scene": (ground_colour, [row["words"]["scene"] for row in rows], "trees"),
        "light": (ground_colour, [row["words"]["light"] for row in rows], "trees"),
    }
    made: dict[str, Readout] = {}
    described: dict[Features, NDArray[np.float64]] = {}
    for name, (features, wanted, kind) in labels.items():
        usable = [index for index, label in enumerate(wanted) if label]
        if features not in described:
            described[features] = np.stack([features(p, m) for p, m in zip(pictures, masks, strict=True)])
        model = (
            make_pipeline(PCA(250, random_state=0), SVC(C=10, gamma="scale"))
            if kind == "curved"
            else ExtraTreesClassifier(200, random_state=0, n_jobs=1)
        )
        model.fit(described[features][usable], np.asarray([wanted[index] for index in usable]))
        made[name] = Readout(features, model)
    return made


def painted(spec: ImageSpec, chosen: Sequence[Case], draw: int, batch: int, threads: int) -> list[NDArray[np.uint8]]:
    """Return the generator's picture of each case, black where there is none."""
    from models.image.pipeline import ControlNetGenerator, ImageRequest

    generator = ControlNetGenerator(spec, "cpu", threads, batch)
    requests = [
        ImageRequest(sample=dataclasses.replace(case.sample, draw_index=draw), prompt=case.prompt, control=case.edges)
        for case in chosen
    ]
    return [np.zeros_like(chosen[0].rgb) if image.rgb is None else image.rgb for image in generator.generate(requests)]


def evaluate(
    spec: ImageSpec, folder: Path | None, samples: int = 96, batch: int = 16, threads: int = 0, log: Callable[[str], None] = print
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Return the figures of a generator, and a sheet: render, edges, image, image with control off, one column a case.

    `folder` holds shards to train the readouts on; without it only the edges are measured.
    """
    from models.world.shard import classes_of
    from models.world.spec import WorldSpec

    chosen = cases(samples, classes_of(WorldSpec()))
    log(f"{len(chosen)} held-out views")
    reads = readouts(folder) if folder else {}
    log(f"{len(reads)} readouts trained on renders")

    began = time.perf_counter()
    on = painted(spec, chosen, 0, batch, threads)
    seconds = (time.perf_counter() - began) / len(chosen) * 16
    log(f"16 images in {seconds:.1f} s")
    off = painted(dataclasses.replace(spec, control_scale=0.0), chosen, 0, batch, threads)
    again = painted(spec, chosen, 1, batch, threads)
    figures: dict[str, Any] = {
        "settings": {name: getattr(spec, name) for name in ("steps", "guidance", "eta", "control_scale", "scheduler", "dtype")},
        "samples": len(chosen),
        "seconds_for_16": round(seconds, 2),
        "failed": sum(not picture.any() for picture in on),
        "render": _figures([case.rgb for case in chosen], chosen, reads),
        "control_on": _figures(on, chosen, reads),
        "control_off": _figures(off, chosen, reads),
        "exchanged": edge_figures(on, [*chosen[8:], *chosen[:8]]),
        "diversity": round(float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in zip(on, again)])), 2),
        "by_class": {
            name: edge_figures(
                [p for p, c in zip(on, chosen) if c.sample.class_name == name], [c for c in chosen if c.sample.class_name == name]
            )
            for name in sorted({case.sample.class_name for case in chosen})
        },
    }
    uncommon = [index for index, case in enumerate(chosen) if not -10.0 <= case.elevation_deg <= 60.0]
    if uncommon:
        figures["uncommon_views"] = edge_figures([on[i] for i in uncommon], [chosen[i] for i in uncommon])
    columns = [
        np.concatenate([case.rgb, np.repeat(case.edges[..., None], 3, 2), a, b], 0)
        for case, a, b in list(zip(chosen, on, off))[:24]
    ]
    rows = [
        np.concatenate(columns[start : start + 12], 1)
        for start in range(0, len(columns), 12)
        if len(columns[start : start + 12]) == 12
    ]
    return figures, np.concatenate(rows or [np.concatenate(columns, 1)], 0)


def _figures(pictures: Sequence[NDArray[np.uint8]], chosen: Sequence[Case], reads: dict[str, Readout]) -> dict[str, float]:
    labels: dict[str, list[Any]] = {
        "class": [case.sample.class_name for case in chosen],
        "side": [sector(case.azimuth_deg) for case in chosen],
        "colour": [case.words["colour"] for case in chosen],
        "scene": [case.words["scene"] for case in chosen],
        "light": [case.words["light"] for case in chosen],
    }
    figures = edge_figures(pictures, chosen)
    for name, wanted in labels.items():
        if name not in reads:
            continue
        # What a caption does not say (wood has no colour word) cannot be asked for.
        said = [index for index, label in enumerate(wanted) if label]
        figures[name] = round(
            reads[name].right([pictures[i] for i in said], [chosen[i].mask for i in said], [wanted[i] for i in said]), 3
        )
    return figures


def edge_figures(pictures: Sequence[NDArray[np.uint8]], chosen: Sequence[Case]) -> dict[str, float]:
    found = np.array([edge_agreement(picture, case.edges, case.mask) for picture, case in zip(pictures, chosen, strict=True)])
    recall, precision, f1 = np.nanmean(found, axis=0)
    return {"edge_recall": round(float(recall), 3), "edge_precision": round(float(precision), 3), "edge_f1": round(float(f1), 3)}


def main() -> None:
    import cv2

    parser = argparse.ArgumentParser(description="Measure how well a generator obeys its edges and its prompt.")
    parser.add_argument("--pictures", type=Path, help="shards of the training world, for the readouts; without: edges only")
    parser.add_argument("--out", type=Path, required=True, help="folder for figures.json and sheet.png")
    parser.add_argument("--model", default=ImageSpec().model, help="embedded, or a pipeline's folder")
    parser.add_argument("--run", type=Path, help="the training's folder: write the model card as well")
    parser.add_argument("--samples", type=int, default=96)
    parser.add_argument("--guidance", type=float, default=ImageSpec().guidance)
    parser.add_argument("--eta", type=float, default=ImageSpec().eta)
    parser.add_argument("--control-scale", type=float, default=ImageSpec().control_scale)
    parser.add_argument("--steps", type=int, default=ImageSpec().steps)
    parser.add_argument("--dtype", default=ImageSpec().dtype)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    spec = ImageSpec(
        model=given.model,
        guidance=given.guidance,
        eta=given.eta,
        control_scale=given.control_scale,
        steps=given.steps,
        dtype=given.dtype,
    )
    figures, sheet = evaluate(spec, given.pictures, given.samples, given.batch, given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "figures.json").write_text(json.dumps(figures, indent=1))
    cv2.imwrite(str(given.out / "sheet.png"), sheet[..., ::-1])
    if given.run:
        from models.training import checkpoint
        from models.training.card import card

        stages = {path.stem: vars(checkpoint.peek(path)) for path in (given.run / f"{name}.safetensors" for name in STAGES)}
        pictures = dataset.Pictures(given.pictures)
        pictures.extend(pictures.names())
        (given.out / "README.md").write_text(card(figures, stages, pictures.count))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
