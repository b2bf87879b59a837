"""A sample's history, gathered from the catalog's rows and the store's records: what showing and making it again start from.

Enters: a sample's name. Leaves: the records of all its stages, its CAD model's row, and what is known of the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.sample import SampleId
from storage.artifacts import ArtifactStore, DamagedArtifact, MissingArtifact, Record
from storage.catalog.catalog import Catalog
from storage.keys import artifact_key, plain
from storage.stages import OF_A_SAMPLE, before
from tasks import stages
from tasks.plan.place import Place


@dataclass(frozen=True, kw_only=True)
class History:
    """All that is on record about how one sample was made under one recipe."""

    sample: SampleId
    """Which sample."""
    recipe: Mapping[str, Any]
    """Name and specs, each stage's as its own record spells it."""
    keywords: tuple[str, ...]
    """The CAD model's keywords as they were when its caption was written."""
    keys: Mapping[str, Mapping[str, str]]
    """Stage -> the keys of its artifacts ({"": key}, or {kind: key} of its controls), of the stages it went through."""
    records: Mapping[str, Mapping[str, Record]]
    """Stage -> their records."""
    cad_model: Mapping[str, Any]
    """The CAD model's row."""
    member: Mapping[str, Any]
    """The sample's own row."""
    run_runtime: Mapping[str, Any]
    """Machine, versions and code of the run that made it, or where that is not known of the first that listed it."""

    @property
    def image_runtime(self) -> Mapping[str, Any]:
        """What the image's bytes depend on besides its spec; nothing where there is no image."""
        return self.records["image"][""].runtime if "image" in self.records else {}

    @property
    def sample_id(self) -> str:
        """Its name."""
        return str(self.sample)


def members_of(catalog: Catalog, sample_id: str, recipe: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of a sample, those of present cohorts and late runs first. Raises ValueError with names that are close."""
    rows = catalog.members(sample_id)
    if not rows:
        close = catalog.sample_ids(sample_id[:12], limit=3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise ValueError(f'no sample "{sample_id}" in the catalog{hint or "."} See: dst sql "select sample_id from samples"')
    found = [row for row in rows if recipe in (None, row["recipe"])]
    if not found:
        names = ", ".join(dict.fromkeys(row["recipe"] for row in rows))
        raise ValueError(f'{sample_id} was not made under a recipe "{recipe}"; it was under: {names}')
    return found


def histories(place: Place, sample_ids: Sequence[str], recipe: str | None = None) -> list[History]:
    """Return the history of each sample, of its present or else newest image. Raises ValueError for unknown ones."""
    catalog = place.catalog
    return [_history(catalog, place.store, members_of(catalog, sample_id, recipe)[0]) for sample_id in sample_ids]


def _history(catalog: Catalog, store: ArtifactStore, member: Mapping[str, Any]) -> History:
    # Behind the stage that failed nothing is on record, and the image's key belongs to what was never made.
    reached = OF_A_SAMPLE if member["status"] == "made" else (*before(member["stage"]), member["stage"])
    keys: dict[str, Mapping[str, str]] = {}
    for stage in reached:
        key = member[f"{stage}_key"]
        keys[stage] = dict(member["controls"] or {}) if stage == "control" else {"": key} if key else {}
    records = {
        stage: {part: record_of(catalog, store, stage, key) for part, key in parts.items()}
        for stage, parts in keys.items()
        if parts
    }
    models = catalog.cad_models(member["class_name"], status=None)
    sample = SampleId(**{name: member[name] for name in ("class_name", "cad_id", "view_index", "draw_index")})
    run = catalog.run(member["first_run_id"])
    cad_model = next((row for row in models if row["cad_id"] == sample.cad_id), None)
    if cad_model is None:
        raise ValueError(f"{sample}: its CAD model is not in the catalog any more; add it again: dst cad add PATH --class CLASS")
    captions = records.get("caption")
    keywords = tuple((captions[""].inputs if captions else cad_model)["keywords"])
    # What a stage's own records say it obeyed, above what the run's row says.
    obeyed: dict[str, Any] = {}
    for stage in stages.OF_A_SAMPLE:
        parts = records.get(stage.name)
        if parts and stage.obeys:
            obeyed[stage.obeys] = parts[""].spec if "" in parts else {part: record.spec for part, record in parts.items()}
    return History(
        sample=sample,
        recipe={**run["recipe_specs"], **obeyed, "name": member["recipe"]},
        keywords=keywords,
        keys=keys,
        records=records,
        cad_model=cad_model,
        member=member,
        run_runtime=_maker(catalog, records, run)["runtime"] or {},
    )


def _maker(catalog: Catalog, records: Mapping[str, Mapping[str, Record]], first: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the row of the run that made a sample's last artifact; where nobody knows it, that of the first that listed it."""
    last = next((record for stage in reversed(OF_A_SAMPLE) for record in records.get(stage, {}).values()), None)
    made_by = last.runtime.get("run") if last is not None else None
    return next((row for row in catalog.runs(first["class_name"]) if row["run_id"] == made_by), first)


def record_of(catalog: Catalog, store: ArtifactStore, stage: str, key: str) -> Record:
    """Return an artifact's record from the store or, where that has lost it, from the catalog (without what was found out).

    Raises ValueError where neither has it, or where key and content do not belong together.
    """
    try:
        record: Record | None = store.get(stage, key).record
    except (MissingArtifact, DamagedArtifact):
        record = catalog.record(key)
    if record is None:
        raise ValueError(f"the record of {stage} {key[:12]} is neither in the store nor in the catalog")
    if artifact_key(record.stage, record.version, record.spec, plain(record.inputs)) != key:
        raise ValueError(f"the record of {stage} {key[:12]} was altered: its spec and inputs do not give its key")
    return record
