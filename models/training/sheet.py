"""Sample sheets: what a training can do so far, on pictures that stay the same from sheet to sheet.

Enters: a Job with a checkpoint. Leaves: a picture: a column for each of the fixed pictures with its edges, what the networks make
of its prompt at a fixed seed, and the picture they learn from; and the prompts. The autoencoder shows what it keeps of the
picture, the base is asked without edges, the control with them.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.image.controlnet import ControlNetSpec
from models.image.kinds import GENERATORS
from models.image.protocol import ImageRequest
from models.sample import SampleId
from models.training import autoencoder, checkpoint, controls, dataset, export
from models.training.tasks import Job

COLUMNS = 8
"""Pictures of a sheet."""
STEPS = 12
"""Denoising steps: fewer than a run takes, for a sheet is a glance."""
_TEXT = 30
"""Pixels for the prompt below a column."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One look at a training."""

    picture: Bytes
    """(H, W, 3): edges, sample and training picture below each other, a column for each prompt."""
    prompts: tuple[str, ...]
    """From left to right."""


def draw(job: Job) -> Sheet:
    """Return the sheet of a job's last checkpoint. Raises dataset.NoPictures, and ForeignCheckpoint without a checkpoint."""
    if not job.checkpoint.is_file():
        raise checkpoint.ForeignCheckpoint(f"no checkpoint in {job.run}: nothing to look at yet")
    learned = job.spec.control
    pictures, drawn, prompts = chosen(job.pictures, controls.drawer(learned, job.run))
    made = _decoded(job, pictures) if job.spec.stage in ("autoencoder", "decoder") else _painted(job, drawn, prompts)
    columns = [np.concatenate(column) for column in zip(controls.shown(learned, drawn), made, pictures, strict=True)]
    return Sheet(picture=_lettered(columns, prompts), prompts=tuple(prompts))


def chosen(folder: Path, drawer: controls.Edges) -> tuple[Bytes, Bytes, list[str]]:
    """Return (pictures, controls (N, H, W, C), prompts) of a folder's first shard: each class in turn, always the same ones."""
    names = dataset.complete(folder)
    if not names:
        raise dataset.NoPictures(f"no complete shard in {folder}; make pictures first")
    first = dataset.TrainingPictures(folder)
    (shard,) = first.extend(names[:1])
    drawer.take(shard)
    of_class: dict[str, list[int]] = {}
    for row in np.random.default_rng(0).permutation(len(shard)).tolist():
        of_class.setdefault(str(shard.rows[row].get("class_name")), []).append(row)
    turns = zip_longest(*(of_class[name] for name in sorted(of_class)))
    rows = [row for turn in turns for row in turn if row is not None][:COLUMNS]
    prompts = [str(shard.rows[row]["captions"][0]) for row in rows]
    drawn = drawer.batch(first, np.array(rows), np.zeros(len(rows), bool))
    return np.asarray(shard.rgb[rows]), drawn, prompts


def _painted(job: Job, drawn: Bytes, prompts: list[str]) -> Bytes:
    """Return what base and control paint, (N, H, W, 3); a picture that came out black or not at all is grey."""
    resolution = drawn.shape[1]
    common: dict[str, Any] = {"resolution": resolution, "steps": STEPS}
    if job.spec.stage == "base":
        common["control_scale"] = 0.0
    with tempfile.TemporaryDirectory(prefix="dst-sheet-") as scratch:
        folder = Path(scratch) / "weights"
        if job.base:
            base_named = f"{job.base}@{job.base_revision}" if job.base_revision else job.base
            export.export_control(job.run, folder, base_named, controls.channels(job.spec.control))
            base = {"model": job.base, "revision": job.base_revision, "control_model": str(folder)}
            common |= {**base, "control_scale": 1.0, "guidance": 7.5}
        else:
            export.export_run(job.run, folder, job.networks)
            common["model"] = str(folder)
        generator = GENERATORS.load(ControlNetSpec(**common), device=job.device, batch=len(prompts))
        asked = [
            ImageRequest(
                sample=_seat(number),
                prompt=prompt,
                controls={controls.SPECS[job.spec.control].kind: one[..., 0] if one.shape[2] == 1 else one},
            )
            for number, (prompt, one) in enumerate(zip(prompts, drawn, strict=True))
        ]
        made = generator.generate(asked)
    return np.stack([np.full((resolution, resolution, 3), 128, np.uint8) if m.rgb is None else m.rgb for m in made])


def _seat(number: int) -> SampleId:
    """Return the identity that fixes a column's seed."""
    return SampleId(class_name="sheet", cad_id="0" * 64, view_index=number)


def _decoded(job: Job, pictures: Bytes) -> Bytes:
    """Return what the autoencoder keeps of pictures."""
    import torch

    vae = autoencoder.trained(job.run, job.networks)
    with torch.no_grad():
        made = vae.decode(torch.from_numpy(autoencoder.encode(vae, pictures, "cpu"))).sample.permute(0, 2, 3, 1)
    return np.asarray(((made.numpy() + 1.0) * 127.5).clip(0, 255).round().astype(np.uint8))


def _lettered(columns: list[Bytes], prompts: list[str]) -> Bytes:
    """Return the columns side by side, twice as large, each above its prompt."""
    import cv2

    made = []
    for column, prompt in zip(columns, prompts, strict=True):
        wide = cv2.resize(column, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
        strip = np.full((_TEXT, wide.shape[1], 3), 255, np.uint8)
        letters = max(12, wide.shape[1] // 5)
        for line in range(2):
            said = prompt[line * letters : (line + 1) * letters]
            cv2.putText(strip, said, (2, 11 + 13 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.3, (0, 0, 0), 1, cv2.LINE_AA)
        made.append(np.concatenate([wide, strip]))
    return np.concatenate(made, axis=1)
