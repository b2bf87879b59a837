"""Reproduce: samples made again from their records alone, in an empty store that holds only the CAD models, and compared.

Enters: names of samples. Leaves: for each, stage by stage, whether the bytes are the same, and otherwise what differs and by how
much. What was made before is read for the comparison only; no cache, no catalog and no server takes part in making it again.
Scores and verdicts are not made again: they belong to the whole cohort, not to a sample.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows import runs
from flows.compare import Agreement, FileComparison, compare_stage, differences, other_machine
from flows.history import History, histories
from models import kinds
from models.cad.spec import CadSpec
from storage.artifacts import ArtifactStore
from storage.catalog import address
from storage.keys import canonical_json
from storage.stages import OF_A_SAMPLE
from tasks import stages
from tasks.plan.cohort import Planned, Shard
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe, read


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
    place: Place, sample_ids: Sequence[str], recipe: str | None = None, into: Path | None = None, last: str | None = None
) -> list[Reproduction]:
    """Make samples again from their records and compare; what is made stays in `into`, or goes when that is None.

    recipe: which of a sample's, where it was made under several. last: stop behind this stage. Raises ValueError for unknown
    samples, a folder that is not empty, a CAD file that has gone, weights that are others now.
    """
    asked = histories(place, list(dict.fromkeys(sample_ids)), recipe)
    if into is not None and into.exists() and any(into.iterdir()):
        raise ValueError(f"{into} is not empty; samples are made again in an empty folder, so that nothing made before can help")
    with tempfile.TemporaryDirectory(prefix="dst-reproduce-") as temporary:
        home = (into or Path(temporary)).absolute()
        home.mkdir(parents=True, exist_ok=True)
        store = ArtifactStore(home / "artifacts")
        made = [Reproduction(history=history) for history in asked]
        for together in _alike(made, last):
            _make(place, _elsewhere(place, home, store, together[0].history), together, last)
        for reproduction in made:
            _compare(place, store, reproduction, last)
    return made


def _stages(history: History, last: str | None) -> list[str]:
    """Return the stages that a sample went through, up to the one where it failed or `last`."""
    found = [stage for stage in OF_A_SAMPLE if stage in history.records]
    return found[: found.index(last) + 1] if last in found else found


def _alike(made: Sequence[Reproduction], last: str | None) -> Iterator[list[Reproduction]]:
    """Put together what the same specs, batch shape and threads made: those share one renderer and one loaded generator."""
    groups: dict[str, list[Reproduction]] = {}
    for reproduction in made:
        history = reproduction.history
        shape = {name: history.image_runtime.get(name) for name in ("batch", "threads", "device")}
        # What needs no generator is not told apart by how one was run.
        alike = shape if last in (None, "image") else {}
        groups.setdefault(canonical_json({"recipe": history.recipe, **alike}), []).append(reproduction)
    yield from groups.values()


def _elsewhere(place: Place, home: Path, store: ArtifactStore, history: History) -> Place:
    """Return a place with an empty store, and with the batch shape and the threads that the record names."""
    runtime = history.image_runtime
    return dataclasses.replace(
        place,
        home=home,
        store=store,
        catalog_url=address.of_file(home / "catalog.sqlite"),
        device="cpu" if runtime.get("device") == "cpu" else place.device,
        batch=int(runtime.get("batch") or place.batch),
        threads=int(runtime.get("threads") or place.threads),
        run=f"reproduce-{home.name}",
    )


def _make(place: Place, elsewhere: Place, together: Sequence[Reproduction], last: str | None) -> None:
    """Walk the graph of stages over one shard, as a run does, without Prefect around the stages' functions."""
    from models.render.pool import RendererDied

    recipe: Recipe = read(together[0].history.recipe)
    for reproduction in together:
        _take_cad_model(place, elsewhere, reproduction)
    for stage in stages.OF_A_SAMPLE:
        samples = tuple(_planned(r.history) for r in together if stage.name in _stages(r.history, last))
        # The CAD models, which obey no recipe, were taken already.
        while samples and stage.obeys:
            try:
                stage.run().fn(elsewhere, Shard(index=0, samples=samples), recipe)
                break
            except RendererDied:
                # It counts what died: at the last try this is a row with a reason, as in a run.
                continue


def _planned(history: History) -> Planned:
    """Return the sample under the keys that were recorded: what is made lies where it lay, and says the same about itself."""
    caption = history.records["caption"][""] if "caption" in history.records else None
    return Planned(
        sample=history.sample,
        keywords=history.keywords,
        written=caption.inputs.get("prompt") if caption else None,
        keys={stage: history.keys.get(stage, {}) for stage in OF_A_SAMPLE},
    )


def _take_cad_model(place: Place, elsewhere: Place, reproduction: Reproduction) -> None:
    """Make the canonical GLB from the source; where that has gone, take the canonical GLB itself, and say so."""
    from tasks.intake import model

    history, store = reproduction.history, elsewhere.store
    then = history.records["cad"][""]
    if store.has("cad", then.key):
        return
    try:
        source = model.source_of(dict(history.cad_model))
    except ValueError as error:
        kept = place.store.find("cad", then.key)
        if kept is None:
            raise ValueError(f"{history.sample_id}: {error}") from None
        reproduction.notes.append(f"{error}: its canonical GLB was taken from the store")
        store.put(dataclasses.replace(kept.record, files={}), {name: place.store.read(kept, name) for name in kept.record.files})
        return
    spec = kinds.read(CadSpec, then.spec, f"the record of cad {then.key[:12]}")
    record, files = model.make(elsewhere, source, history.sample.cad_id, spec)
    store.put(dataclasses.replace(record, key=then.key), files)


def _compare(place: Place, now: ArtifactStore, reproduction: Reproduction, last: str | None) -> None:
    history = reproduction.history
    for stage in _stages(history, last):
        for old in history.records[stage].values():
            reproduction.files += compare_stage(place.store, now, old, history.sample_id)
            new = now.find(stage, old.key)
            reproduction.notes += differences(old, new.record) if new is not None else ()
    reproduction.notes += other_machine(history.run_runtime, runs.runtime(place))
    reproduction.notes = list(dict.fromkeys(reproduction.notes))
