"""Pictures for cases, batch by batch, kept as they are made: a killed evaluation paints nothing twice.

Enters: an ImageSpec, cases, a folder. Leaves: one .npz a batch, named by everything that determines it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.cases import Case, control_of
from models.evaluation.spec import VERSION
from models.image.kinds import GENERATORS
from models.image.protocol import ImageRequest, ImageSpec
from models.training import controls
from models.training.spec import Learned

if TYPE_CHECKING:
    from models.image.protocol import Generator

Log = Callable[[str], None]
Kept = tuple[NDArray[np.uint8], list[str | None], float, float]
"""A batch: pictures, reasons, seconds, processor seconds."""


@dataclass(frozen=True, kw_only=True)
class Painted:
    """Pictures of some cases under one setting."""

    pictures: list[NDArray[np.uint8]]
    """(H, W, 3) each; black where the generator made none."""
    reasons: list[str | None]
    """Why there is none."""
    seconds: tuple[float, ...]
    """Time of each batch, as it was when it was painted."""
    processor: tuple[float, ...]
    """Processor time of each batch, all threads together: what other work on the machine changes less."""
    batch: int
    """Images of a batch."""

    @property
    def failed(self) -> int:
        return sum(reason is not None for reason in self.reasons)

    @property
    def seconds_for_16(self) -> float:
        """Time of 16 images, from the batch that was least disturbed (the last of a few is filled up, so all are alike)."""
        return min(self.seconds, default=0.0) * 16 / self.batch

    @property
    def processor_for_16(self) -> float:
        """Processor time of 16 images likewise."""
        return min(self.processor, default=0.0) * 16 / self.batch


class Painter:
    """Paints cases with one generator under many settings, and keeps what it has painted."""

    def __init__(
        self,
        folder: Path,
        device: str = "cpu",
        threads: int = 0,
        batch: int = 16,
        log: Log = print,
        between: Callable[[], None] = lambda: None,
        learned: Learned = "edges",
    ) -> None:
        self.folder, self.device, self.threads, self.batch, self.log = folder, device, threads, batch, log
        self.between = between
        """Called before each batch is painted and between its steps; what it raises ends the painting; none painted is lost."""
        self.learned = learned
        """What the generator's ControlNet has learned to obey."""
        self._generator: Generator | None = None

    def paint(self, spec: ImageSpec, cases: Sequence[Case], draw: int = 0, title: str = "") -> Painted:
        """Return the generator's picture of each case. Raises UnknownModel or BadModelFolder."""
        if not spec.model_revision:
            spec = spec.pinned()
        pictures: list[NDArray[np.uint8]] = []
        reasons: list[str | None] = []
        seconds: list[float] = []
        processor: list[float] = []
        new, spent = 0, 0.0
        for start in range(0, len(cases), self.batch):
            some = cases[start : start + self.batch]
            path = self.folder / f"{self._key(spec, some, draw)}.npz"
            kept = _read(path)
            if kept is None:
                self.between()
                kept = self._make(spec, some, draw)
                _write(path, *kept)
                new, spent = new + len(some), spent + kept[2]
            pictures += list(kept[0])
            reasons += kept[1]
            seconds.append(kept[2])
            processor.append(kept[3])
        if new:
            self.log(f"evaluation  {title or 'pictures'}  {new} painted  {len(cases) - new} kept from before  {spent:.0f} s")
        return Painted(pictures=pictures, reasons=reasons, seconds=tuple(seconds), processor=tuple(processor), batch=self.batch)

    @property
    def runtime(self) -> dict[str, Any]:
        """What times and last bits depend on."""
        import platform

        return {"machine": platform.machine(), "device": self.device, "threads": self.threads, "batch": self.batch}

    def _key(self, spec: ImageSpec, cases: Sequence[Case], draw: int) -> str:
        told = [
            [str(case.sample), case.sample.cad_id, case.prompt, hashlib.sha256(case.edges.tobytes()).hexdigest()]
            for case in cases
        ]
        what: list[Any] = [VERSION, dataclasses.asdict(spec), draw, self.batch, told]
        what += [] if self.learned == "edges" else [self.learned]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]

    def _make(self, spec: ImageSpec, cases: Sequence[Case], draw: int) -> Kept:
        if self._generator is None:
            self._generator = GENERATORS.load(spec, device=self.device, threads=self.threads, batch=self.batch)
        generator = self._generator.resampled(spec)
        requests = [
            ImageRequest(
                sample=dataclasses.replace(case.sample, draw_index=draw),
                prompt=case.prompt,
                controls={controls.SPECS[self.learned].kind: control_of(case, self.learned)},
            )
            for case in cases
        ]
        began, worked = time.perf_counter(), time.process_time()
        images = generator.generate(requests, lambda done, asked: self.between())
        seconds, processor = time.perf_counter() - began, time.process_time() - worked
        blank = np.zeros((spec.resolution, spec.resolution, 3), np.uint8)
        rgb = np.stack([blank if image.rgb is None else image.rgb for image in images])
        return rgb, [image.reason for image in images], seconds, processor


def _read(path: Path) -> Kept | None:
    """Return a kept batch, or None when there is none or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            return file["rgb"], about["reasons"], float(about["seconds"]), float(about["processor"])
    except (FileNotFoundError, zipfile.BadZipFile, KeyError, ValueError, EOFError):
        return None


def _write(path: Path, rgb: NDArray[np.uint8], reasons: list[str | None], seconds: float, processor: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = json.dumps({"reasons": reasons, "seconds": round(seconds, 3), "processor": round(processor, 3)}).encode()
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez(file, rgb=rgb, about=np.frombuffer(about, np.uint8))
    temporary.replace(path)
