"""Reproduce: samples made again from their records alone, in an empty store that holds only the CAD models, and compared.

Enters: names of samples. Leaves: for each, stage by stage, whether the bytes are the same, and otherwise what differs and by how
much. What was made before is read for the comparison only; no cache, no catalog and no server takes part in making it again.
Verdicts are not made again: they belong to the whole cohort, not to a sample.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from flows import recipes, runs
from flows.history import History, histories
from models.cad.spec import CadSpec
from storage.artifacts import Artifact, ArtifactStore, DamagedArtifact, MissingArtifact, Record
from storage.images import from_png
from storage.keys import canonical_json
from storage.settings import Settings
from tasks.cohort import STAGES, Planned, Shard
from tasks.recipe import Recipe

TOLERANCE_DB = 40.0
"""Pictures at least this close (PSNR) are the same sample made elsewhere; below, it is another one."""

_NOT_COMPARED = ("seconds", "source")
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


@dataclass(kw_only=True)
class Reproduction:
    """What came of making one sample again."""

    history: History
    """What the records say."""
    files: list[FileComparison] = field(default_factory=list)
    """Every file of every stage."""
    notes: list[str] = field(default_factory=list)
    """What differs between then and now: machine, versions, batch shape, threads, code."""

    @property
    def agreement(self) -> Agreement:
        """The worst of its files."""
        found = {file.agreement for file in self.files}
        return "different" if "different" in found or not found else "close" if "close" in found else "same"


def reproduce(
    settings: Settings, sample_ids: Sequence[str], recipe: str | None = None, into: Path | None = None, last: str | None = None
) -> list[Reproduction]:
    """Make samples again from their records and compare; what is made stays in `into`, or goes when that is None.

    recipe: which of a sample's, where it was made under several. last: stop behind this stage. Raises ValueError for unknown
    samples, a folder that is not empty, a CAD file that has gone, weights that are others now.
    """
    asked = histories(settings, list(dict.fromkeys(sample_ids)), recipe)
    if into is not None and into.exists() and any(into.iterdir()):
        raise ValueError(f"{into} is not empty; samples are made again in an empty folder, so that nothing made before can help")
    with tempfile.TemporaryDirectory(prefix="dst-reproduce-") as temporary:
        home = (into or Path(temporary)).absolute()
        home.mkdir(parents=True, exist_ok=True)
        made = [Reproduction(history=history) for history in asked]
        for together in _alike(made, last):
            _make(settings, home, together, last)
        for reproduction in made:
            _compare(settings.store, ArtifactStore(home / "artifacts"), reproduction, last)
    return made


def _stages(history: History, last: str | None) -> list[str]:
    """Return the stages that a sample went through, up to the one where it failed or `last`."""
    stages = [stage for stage in STAGES if stage in history.records]
    return stages[: stages.index(last) + 1] if last in stages else stages


def _alike(made: Sequence[Reproduction], last: str | None) -> Iterator[list[Reproduction]]:
    """Put together what the same specs, batch shape and threads made: those share one renderer and one loaded generator."""
    groups: dict[str, list[Reproduction]] = {}
    for reproduction in made:
        history = reproduction.history
        image = history.records.get("image")
        runtime = image.runtime if image else {}
        shape = {name: runtime.get(name) for name in ("batch", "threads", "device")}
        # What needs no generator is not told apart by how one was run.
        alike = shape if last in (None, "image") else {}
        groups.setdefault(canonical_json({"recipe": history.recipe, **alike}), []).append(reproduction)
    yield from groups.values()


def _make(settings: Settings, home: Path, together: Sequence[Reproduction], last: str | None) -> None:
    """Run the stages' own functions over one shard, as a run does, without Prefect around them."""
    from models.render.pool import RendererDied
    from tasks.caption import caption
    from tasks.edge import edge
    from tasks.image import image
    from tasks.render import render

    work = {"render": render.fn, "edge": edge.fn, "caption": caption.fn, "image": image.fn}
    recipe: Recipe = recipes.recorded(together[0].history.recipe)
    store = ArtifactStore(home / "artifacts")
    for reproduction in together:
        _take_cad_model(settings, store, reproduction)
    with _elsewhere(settings, home, together[0].history):
        for stage, make in work.items():
            samples = tuple(_planned(r.history) for r in together if stage in _stages(r.history, last))
            while samples:
                try:
                    make(Shard(index=0, samples=samples), recipe)
                    break
                except RendererDied:
                    # It counts what died: at the last try this is a row with a reason, as in a run.
                    continue


@contextmanager
def _elsewhere(settings: Settings, home: Path, history: History) -> Iterator[None]:
    """Let tasks work in `home`, in the batch shape and with the threads that the record names."""
    image = history.records.get("image")
    runtime: Mapping[str, Any] = image.runtime if image else {}
    device = "cpu" if runtime.get("device") == "cpu" else settings.device
    changed = {
        "DST_HOME": str(home),
        "DST_CATALOG_URL": "",
        "DST_BATCH": str(runtime.get("batch") or settings.batch),
        "DST_THREADS": str(runtime.get("threads") or settings.threads),
        "DST_DEVICE": device,
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _planned(history: History) -> Planned:
    """Return the sample under the keys that were recorded: what is made lies where it lay, and says the same about itself."""
    caption = history.records.get("caption")
    return Planned(
        sample=history.sample,
        keywords=history.keywords,
        prompt=caption.inputs.get("prompt") if caption else None,
        **{f"{stage}_key": history.keys.get(stage) or "" for stage in STAGES},
    )


def _take_cad_model(settings: Settings, store: ArtifactStore, reproduction: Reproduction) -> None:
    """Make the canonical GLB from the source; where that has gone, take the canonical GLB itself, and say so."""
    from tasks import intake

    history = reproduction.history
    key = history.keys["cad"]
    assert key is not None
    if store.has("cad", key):
        return
    then = history.records["cad"]
    try:
        source = intake.source_of(dict(history.cad_model))
    except ValueError as error:
        kept = settings.store.find("cad", key)
        if kept is None:
            raise ValueError(f"{history.sample_id}: {error}") from None
        reproduction.notes.append(f"{error}: its canonical GLB was taken from the store")
        store.put(
            dataclasses.replace(kept.record, files={}), {name: settings.store.read(kept, name) for name in kept.record.files}
        )
        return
    record, files = intake.make(settings, source, history.sample.cad_id, CadSpec(**_tuples(then.spec)))
    store.put(dataclasses.replace(record, key=key), files)


def _compare(then: ArtifactStore, now: ArtifactStore, reproduction: Reproduction, last: str | None) -> None:
    history = reproduction.history
    for stage in _stages(history, last):
        key = history.keys[stage]
        assert key is not None
        old, new = history.records[stage], now.find(stage, key)
        if new is None:
            reproduction.files.append(_file(stage, "-", "different", "not made again: an earlier stage failed"))
            continue
        _compare_outcomes(reproduction, stage, old, new.record)
        # Where one of the two failed, there are no files to set beside the other's.
        for name in sorted(old.files.keys() | new.record.files.keys()) if old.outcome == new.record.outcome else ():
            agreement, note = _compare_files(then, old, new, name)
            reproduction.files.append(_file(stage, name, agreement, note))
        reproduction.notes += _differences(stage, old, new.record)
    reproduction.notes += _other_machine(history)
    reproduction.notes = list(dict.fromkeys(reproduction.notes))


def _compare_outcomes(reproduction: Reproduction, stage: str, old: Record, new: Record) -> None:
    if old.outcome == new.outcome == "made":
        return
    if old.outcome == new.outcome:
        same: Agreement = "same" if old.reason == new.reason else "different"
        reproduction.files.append(_file(stage, "-", same, f"failed again: {new.reason}: {new.detail}"))
    elif new.outcome == "failed":
        reproduction.files.append(_file(stage, "-", "different", f"was made then, fails now: {new.reason}: {new.detail}"))
    else:
        note = f"failed then ({old.reason}), is made now; do it for good: dst retry --sample {reproduction.history.sample_id}"
        reproduction.files.append(_file(stage, "-", "different", note))


def _compare_files(then: ArtifactStore, old: Record, new: Artifact, name: str) -> tuple[Agreement, str]:
    if name not in old.files or name not in new.record.files:
        return "different", "was not there then" if name not in old.files else "is not there now"
    if old.files[name]["sha256"] == new.record.files[name]["sha256"]:
        return "same", "same bytes"
    try:
        before = then.read(then.get(old.stage, old.key), name)
    except (MissingArtifact, DamagedArtifact):
        return "different", "other bytes; the original is not in the store, so by how much is not known"
    after = new.path(name).read_bytes()
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


def _differences(stage: str, old: Record, new: Record) -> Iterator[str]:
    """Yield what of a stage's runtime is another one now."""
    if old.version != new.version:
        yield f"{stage}: version {old.version} of the stage then, {new.version} now"
    for name in sorted((old.runtime.keys() & new.runtime.keys()) - set(_NOT_COMPARED)):
        if old.runtime[name] != new.runtime[name]:
            yield f"{stage}: {name} {old.runtime[name]} then, {new.runtime[name]} now"


def _other_machine(history: History) -> Iterator[str]:
    """Yield what of the run that made it is otherwise here: machine type, Python, packages, code."""
    then, now = history.run_runtime, runs.runtime(Settings())
    for name in ("machine", "python", "code"):
        if then.get(name) and then[name] != now[name]:
            yield f"{name} {then[name]} then, {now[name]} now"
    packages = then.get("packages") or {}
    for name, version in sorted(packages.items()):
        if now["packages"].get(name) != version:
            yield f"{name} {version} then, {now['packages'].get(name)} now"


def _file(stage: str, name: str, agreement: Agreement, note: str) -> FileComparison:
    return FileComparison(stage=stage, name=name, agreement=agreement, note=note)


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return {name: _tuples(item) for name, item in value.items()} if isinstance(value, dict) else value


def report(made: Sequence[Reproduction], into: Path | None) -> bool:
    """Print what came of it, the samples that are not the same in full; return whether all agree within tolerance."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    shared = set.intersection(*(set(reproduction.notes) for reproduction in made))
    for reproduction in made:
        history = reproduction.history
        said = {"same": "same bytes at every stage", "close": "not the same bytes", "different": "differs"}
        title = f"[bold]{history.sample_id}[/bold] ({history.recipe['name']})"
        console.print(f"{title}: {said[reproduction.agreement]}", soft_wrap=True)
        failed = [file for file in reproduction.files if file.name == "-"]
        for file in failed if reproduction.agreement == "same" else reproduction.files:
            console.print(f"  {file.stage:<8} {file.name:<16} {file.note}", markup=False, soft_wrap=True)
        for note in reproduction.notes:
            if note not in shared:
                console.print(f"  {note}", markup=False, soft_wrap=True)
    counts = Counter(reproduction.agreement for reproduction in made)
    line = f"{counts['same']} of {len(made)} with the same bytes"
    if counts["close"]:
        line += f", {counts['close']} within {TOLERANCE_DB:.0f} dB"
    if counts["different"]:
        line += f", {counts['different']} beyond {TOLERANCE_DB:.0f} dB or otherwise different"
    console.print(line)
    for note in sorted(shared):
        console.print(f"  {note}", markup=False, soft_wrap=True)
    if into is not None:
        console.print(f"files: {into.absolute() / 'artifacts'}", markup=False, soft_wrap=True)
    return not counts["different"]
