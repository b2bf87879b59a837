"""Two makings of a sample, compared stage by stage.

Enters: a sample's records, the store that holds what was made then, and one that holds what was made again. Leaves: for each file
whether its bytes are the same, and otherwise what differs and by how much.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from storage.artifacts import Artifact, ArtifactStore, DamagedArtifact, MissingArtifact, Record
from storage.images import from_png

TOLERANCE_DB = 40.0
"""Pictures at least this close (PSNR) are the same sample made elsewhere; below, it is another one."""

NOT_COMPARED = ("seconds", "waited", "run", "task_attempt", "source")
"""Runtime facts that never change a byte."""

Agreement = Literal["same", "close", "different"]


@dataclass(frozen=True, kw_only=True)
class FileComparison:
    """One file then and now."""

    stage: str
    """The stage that made it."""
    name: str
    """Its name in the artifact's folder."""
    agreement: Agreement
    """same: the same bytes. close: other bytes within tolerance. different: beyond it."""
    note: str
    """For a person: `same bytes`, `52.1 dB`, what was not there to compare."""


def compare_stage(then: ArtifactStore, now: ArtifactStore, old: Record, sample_id: str) -> Iterator[FileComparison]:
    """Yield how each file of one artifact compares; one comparison without a name where one of the two was not made."""
    new = now.find(old.stage, old.key)
    if new is None:
        yield _file(old, "-", "different", "not made again: an earlier stage failed")
    elif old.outcome == new.record.outcome == "made":
        for name in sorted(old.files.keys() | new.record.files.keys()):
            yield _file(old, name, *_compare_files(then, now, old, new, name))
    else:
        yield _compare_outcomes(old, new.record, sample_id)


def _compare_outcomes(old: Record, new: Record, sample_id: str) -> FileComparison:
    if old.outcome == new.outcome:
        same: Agreement = "same" if old.reason == new.reason else "different"
        return _file(old, "-", same, f"failed again: {new.reason}: {new.detail}")
    if new.outcome == "failed":
        return _file(old, "-", "different", f"was made then, fails now: {new.reason}: {new.detail}")
    note = f"failed then ({old.reason}), is made now; do it for good: dst retry --sample {sample_id}"
    return _file(old, "-", "different", note)


def _compare_files(then: ArtifactStore, now: ArtifactStore, old: Record, new: Artifact, name: str) -> tuple[Agreement, str]:
    if name not in old.files or name not in new.record.files:
        return "different", "was not there then" if name not in old.files else "is not there now"
    if old.files[name]["sha256"] == new.record.files[name]["sha256"]:
        return "same", "same bytes"
    try:
        before = then.read(then.get(old.stage, old.key), name)
    except (MissingArtifact, DamagedArtifact):
        return "different", "other bytes; the original is not in the store, so by how much is not known"
    after = now.read(new, name)
    if name.endswith(".png"):
        return _compare_pictures(from_png(before), from_png(after))
    if name.endswith(".json"):
        return _compare_facts(json.loads(before), json.loads(after))
    return "close", "other bytes (pictures decide)"


def _compare_pictures(before: Any, after: Any) -> tuple[Agreement, str]:
    if before.shape != after.shape or before.dtype != after.dtype:
        return "different", f"{before.shape} of {before.dtype} then, {after.shape} of {after.dtype} now"
    decibels = psnr(before, after)
    if math.isinf(decibels):
        return "close", "same pixels, other text inside"
    return ("close" if decibels >= TOLERANCE_DB else "different"), f"{decibels:.1f} dB"


def psnr(before: Any, after: Any) -> float:
    """Return the peak signal-to-noise ratio of two pictures of the same shape, dB; infinite for equal ones."""
    error = float(np.mean((before.astype(np.float64) - after.astype(np.float64)) ** 2))
    peak = float(np.iinfo(before.dtype).max)
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def _compare_facts(before: Any, after: Any) -> tuple[Agreement, str]:
    apart = list(_apart("", before, after))
    if not apart:
        return "close", "same facts, other spelling"
    beyond = [where for where, far in apart if far > 1e-3]
    names = ", ".join((beyond or [where for where, _ in apart])[:4])
    return ("different", f"differs in {names}") if beyond else ("close", f"numbers differ by less than 0.001 in {names}")


def _apart(where: str, before: Any, after: Any) -> Iterator[tuple[str, float]]:
    """Yield (name, distance) of values that differ; what is no number is infinitely far from anything else."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _apart(f"{where}.{name}".lstrip("."), before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from _apart(where, one, other)
    elif before != after:
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (before, after))
        yield where, abs(before - after) if numbers else math.inf


def differences(old: Record, new: Record) -> Iterator[str]:
    """Yield what of an artifact's runtime is another one now."""
    if old.version != new.version:
        yield f"{old.stage}: version {old.version} of the stage then, {new.version} now"
    for name in sorted((old.runtime.keys() & new.runtime.keys()) - set(NOT_COMPARED)):
        if old.runtime[name] != new.runtime[name]:
            yield f"{old.stage}: {name} {old.runtime[name]} then, {new.runtime[name]} now"


def other_machine(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of two runs' runtimes differs: machine type, Python, packages, code."""
    for name in ("machine", "python", "code"):
        if then.get(name) and then[name] != now[name]:
            yield f"{name} {then[name]} then, {now[name]} now"
    packages = then.get("packages") or {}
    for name, version in sorted(packages.items()):
        if now["packages"].get(name) != version:
            yield f"{name} {version} then, {now['packages'].get(name)} now"


def _file(record: Record, name: str, agreement: Agreement, note: str) -> FileComparison:
    return FileComparison(stage=record.stage, name=name, agreement=agreement, note=note)
