"""What a release consists of: a person's condition, answered once and frozen.

Enters: the catalog and a condition over the `samples` view. Leaves: the rows in order of class and sample_id as a Parquet file,
their digest, and the figures of the card. Rows stream from the database into the file and from there to the formats; what stays
in memory is three numbers a sample and what is counted.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.artifacts import ArtifactStore
from storage.catalog.query import query, stream, unheard_of
from storage.export.rows import LostFiles, ReleaseSample, lost_line
from storage.report.facts import controls, scores
from storage.stages import OF_A_SAMPLE

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog

DEFAULT_WHERE = "kept = 1 and in_cohort = 1"
PIECE = 256
"""Samples written between two marks that a killed export goes on from."""

_VIEW = ("intrinsics", "rotation", "translation", "box3d", "box3d_extents", "depth_scale")
_JSON = ("intrinsics", "rotation", "translation", "box3d", "box3d_extents", "scores", "controls")
_STAGES = (*OF_A_SAMPLE, "verdict")
_INTEGERS = ("view_index", "draw_index", "width", "height", "seed", "attempt", "kept", "in_cohort")
_FLOATS = (
    "azimuth_deg", "elevation_deg", "inplane_deg", "distance", "box_x0", "box_y0", "box_x1", "box_y1", "visible_fraction",
    "truncated_fraction", "control_density",
)  # fmt: skip
_TEXTS = (
    "sample_id", "class_name", "cad_id", "cad_name", "keywords", "licence", "prompt", "negative_prompt", "colour", "material",
    "scene", "light", "captioner", "captioner_revision", "model_id", "model_revision", "drop_reason", "recipe", "run_id",
    "tag", "tag_note", "tagged_by", "tagged_at",
    "flow_run_url", "sha256", "created_at", *(f"{stage}_{what}" for stage in _STAGES for what in ("key", "spec")),
)  # fmt: skip


class SeveralRecipes(ValueError):
    """Nobody said which recipe's samples are meant; one line that asks."""


class NothingSelected(ValueError):
    """The condition holds for no sample with an image; one line that says what does."""


@dataclass
class Figures:
    """What is counted while rows stream by."""

    samples: int = 0
    """How many."""
    classes: Counter[str] = field(default_factory=Counter)
    """class_name -> samples."""
    models: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """(class_name, cad_id) -> name, licence, cad_key, samples; in order of the release."""
    recipes: Counter[str] = field(default_factory=Counter)
    """recipe -> samples."""
    generators: Counter[str] = field(default_factory=Counter)
    """model @ revision -> samples."""
    captioners: Counter[str] = field(default_factory=Counter)
    """captioner and revision -> samples."""
    verdicts: Counter[str] = field(default_factory=Counter)
    """kept, dropped, unjudged (no rule could decide) -> samples."""
    tags: Counter[str] = field(default_factory=Counter)
    """good, bad, doubtful -> samples of which a person said so; the others are not in it."""
    sizes: Counter[str] = field(default_factory=Counter)
    """width x height of the renders -> samples."""
    filters: Counter[str] = field(default_factory=Counter)
    """verdict_key -> samples."""
    specs: dict[str, set[str]] = field(default_factory=dict)
    """stage -> keys of the specs the samples were made under."""
    runs: set[str] = field(default_factory=set)
    """run_ids."""
    cut: int = 0
    """Samples whose object is not wholly in the picture."""
    below: int = 0
    """Samples seen from below the horizon."""
    poses: list[tuple[float, float, float]] = field(default_factory=list)
    """azimuth_deg, elevation_deg, distance."""
    scores: dict[str, array[float]] = field(default_factory=dict)
    """name -> values of the samples that were judged."""
    controls: Counter[str] = field(default_factory=Counter)
    """kind -> samples."""

    def add(self, row: Mapping[str, Any]) -> int:
        """Count a row; return its place among the samples of its CAD model."""
        self.samples += 1
        self.classes[row["class_name"]] += 1
        model = self.models.setdefault(
            (row["class_name"], row["cad_id"]),
            {"name": row["cad_name"], "licence": row["licence"], "cad_key": row["cad_key"], "samples": 0},
        )
        model["samples"] += 1
        self.recipes[row["recipe"]] += 1
        self.generators[f"{row['model_id']} @ {row['model_revision'] or 'no revision'}"] += 1
        self.captioners[f"{row['captioner']} {row['captioner_revision'] or ''}".strip()] += 1
        self.verdicts["unjudged" if row["kept"] is None else "kept" if row["kept"] else "dropped"] += 1
        self.tags.update([row["tag"]] if row["tag"] else [])
        self.sizes[f"{row['width']} x {row['height']}"] += 1
        if row["verdict_key"]:
            self.filters[row["verdict_key"]] += 1
        for stage in _STAGES:
            if row[f"{stage}_spec"]:
                self.specs.setdefault(stage, set()).add(row[f"{stage}_spec"])
        self.runs.add(row["run_id"])
        self.cut += (row["truncated_fraction"] or 0.0) > 0
        self.below += (row["elevation_deg"] or 0.0) < 0
        self.poses.append((row["azimuth_deg"] or 0.0, row["elevation_deg"] or 0.0, row["distance"] or 0.0))
        self.controls.update(list(row["controls"]))
        for name, value in row["scores"].items():
            self.scores.setdefault(name, array("d")).append(value)
        return int(model["samples"]) - 1


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A condition's answer, frozen."""

    where: str
    """The condition."""
    path: Path
    """The Parquet file with the rows."""
    digest: str
    """sha256 over the lines `sample_id sha256` in order of class and sample_id: equal digests are equal pictures, named alike."""
    figures: Figures
    """What the card says."""
    size: int = PIECE
    """Samples in a piece."""
    left_out: int
    """Samples that the condition holds for and that have no image."""

    @property
    def pieces(self) -> range:
        return range(-(-self.figures.samples // self.size))

    def piece(self, number: int) -> list[ReleaseSample]:
        """Return the samples of one piece."""
        import pyarrow.parquet as parquet

        with parquet.ParquetFile(self.path) as file:
            rows = file.read_row_group(number).to_pylist()
        return [_sample(row) for row in rows]

    def samples(self) -> Iterator[ReleaseSample]:
        """Yield all samples, one piece in memory at a time."""
        for number in self.pieces:
            yield from self.piece(number)

    def classes(self) -> list[str]:
        """Return the class names, sorted."""
        return sorted(self.figures.classes)


def freeze(catalog: Catalog, store: ArtifactStore, where: str, path: Path, size: int = PIECE) -> Selection:
    """Answer `where` over the `samples` view, write the rows to `path` and return the selection.

    Only samples with an image count. Raises QueryError for a condition that is none, NothingSelected for one that holds for
    nothing, LostFiles where the store has lost pictures.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    selected = f"SELECT * FROM samples WHERE (\n{where}\n)"
    # A person's text runs in this statement first: it takes one reading statement only, and explains what is wrong with others.
    counts = query(catalog.database, f"SELECT count(*) AS samples, count(s.file) AS pictures FROM ({selected}) s")
    samples, found = int(counts["samples"].iloc[0]), int(counts["pictures"].iloc[0])
    if not found:
        raise NothingSelected(_nothing(catalog, where))
    binary = ' COLLATE "C"' if catalog.database.kind == "postgresql" else ""
    sql = (
        f"SELECT {', '.join(f's.{name}' for name in (*_TEXTS, *_INTEGERS, *_FLOATS))}, "
        f"{', '.join(f'v.{name}' for name in _VIEW)} FROM ({selected}) s "
        "LEFT JOIN views v ON v.render_key = s.render_key WHERE s.file IS NOT NULL "
        f"ORDER BY s.class_name{binary}, s.sample_id{binary}, s.image_key, s.recipe{binary}"
    )
    figures, seal, lost, lost_count = Figures(), hashlib.sha256(), list[str](), 0
    schema = pa.schema(
        [(name, pa.string()) for name in (*_TEXTS, *_JSON, "name")]
        + [(name, pa.int64()) for name in (*_INTEGERS, "number", "place")]
        + [(name, pa.float64()) for name in (*_FLOATS, "depth_scale")]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with parquet.ParquetWriter(path, schema) as writer:
        waiting: list[dict[str, Any]] = []
        before: tuple[str, str] = ("", "")
        for batch in stream(catalog.database, sql, size):
            measured = scores(catalog, ((row["verdict_key"], row["image_key"]) for row in batch))
            kinds = controls(catalog, (row["image_key"] for row in batch))
            for row in batch:
                sample_id, image_key = row["sample_id"], row["image_key"]
                # One picture under two recipes that differ in the filter only is one picture.
                if (sample_id, image_key) == before:
                    continue
                row["scores"] = measured.get((row["verdict_key"], image_key), {})
                row["controls"] = kinds.get(image_key, {})
                row["number"] = figures.samples
                row["place"] = figures.add(row)
                row["name"] = sample_id if sample_id != before[0] else f"{sample_id}-{image_key[:8]}"
                before = (sample_id, image_key)
                seal.update(f"{sample_id} {row['sha256']}\n".encode())
                if not (store.find("image", image_key) and store.find("render", row["render_key"])):
                    lost_count += 1
                    lost += [sample_id] if lost_count <= 5 else []
                waiting.append({name: _text(row[name]) if name in _JSON else row[name] for name in schema.names})
                if len(waiting) == size:
                    writer.write_table(pa.Table.from_pylist(waiting, schema))
                    waiting = []
        if waiting:
            writer.write_table(pa.Table.from_pylist(waiting, schema))
    if lost_count:
        raise LostFiles(lost_line(lost, _class_of(figures), lost_count))
    return Selection(where=where, path=path, digest=seal.hexdigest(), figures=figures, size=size, left_out=samples - found)


def unjudged(catalog: Catalog) -> int:
    """Return how many images of the present cohorts no rule could decide about; `kept = 1` leaves them out."""
    sql = "SELECT count(*) AS n FROM samples WHERE in_cohort = 1 AND kept IS NULL AND file IS NOT NULL"
    return int(catalog.rows(sql)[0]["n"])


def _nothing(catalog: Catalog, where: str) -> str:
    """Return the line that says why there is nothing to release, and what to do."""
    if where == DEFAULT_WHERE and (count := unjudged(catalog)):
        was = "the only image there is was" if count == 1 else f"the {count} images there are were"
        return f'nothing was kept: {was} not judged (dst report says why); to export what was not judged: --where "in_cohort = 1"'
    told = "; ".join(unheard_of(catalog.database, where)) or "see what there is: dst status"
    return f"no sample with an image fulfils: {where}; {told}"


def refuse_several_recipes(catalog: Catalog, where: str = DEFAULT_WHERE) -> None:
    """Raise SeveralRecipes where a condition holds for samples of more than one recipe: pictures of two kinds in one release.

    A condition that somebody said means what it says.
    """
    sql = f"SELECT recipe, count(*) AS n FROM samples WHERE {where} AND file IS NOT NULL GROUP BY recipe ORDER BY n DESC, 1"
    found = catalog.rows(sql)
    if len(found) > 1:
        listed = ", ".join(f"{row['recipe']} ({row['n']})" for row in found)
        raise SeveralRecipes(
            f"which recipe? kept are samples of {listed}; say one: "
            f'--where "{where} and recipe = \'{found[0]["recipe"]}\'" (or all: --where "{where}")'
        )


def _class_of(figures: Figures) -> str:
    return next(iter(figures.classes)) if len(figures.classes) == 1 else "CLASS"


def _sample(row: dict[str, Any]) -> ReleaseSample:
    for name in _JSON:
        row[name] = json.loads(row[name]) if row[name] else None
    return ReleaseSample(number=row["number"], place=row["place"], name=row["name"], row=row)


def _text(value: Any) -> str | None:
    # SQLite hands JSON columns out as text, Postgres as values.
    return value if value is None or isinstance(value, str) else json.dumps(value)
