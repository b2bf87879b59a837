"""Pictures in the order in which they landed: what the live gallery shows, a page at a time.

Enters: the catalog, what is wanted of it, the place of the last picture seen. Leaves: Pictures, the newest first, each with its
strip, caption, scores and tag. One picture an image: of the cohorts that share it, the present one tells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage.catalog import tables
from storage.catalog.tags import TAGS, standing
from storage.report.collect import control_files
from storage.report.facts import controls, scores, verdicts
from storage.report.verdict import decided

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog

PAGE = 60
"""Pictures of a page."""
UNTAGGED = "untagged"
"""What is wanted of tags, beside the tags themselves: images that have none."""
_COLUMNS = (
    "sample_id", "class_name", "cad_name", "recipe", "run_id", "in_cohort", "prompt", "seed", "azimuth_deg", "elevation_deg",
    "kept", "drop_reason", "drop_words", "tag", "tag_note", "tagged_by", "tagged_at", "image_key", "control_key", "verdict_key",
    "file", "render_file", "control_file", "created_at",
)  # fmt: skip
_AT_ONCE = 400

Place = tuple[str, str]
"""Where a picture stands: when it was made (UTC, ISO 8601) and its key."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image, with what a person who judges it wants to see."""

    key: str
    """The image's key."""
    created_at: str
    """When it was made, UTC, ISO 8601."""
    sample_id: str
    """Of which sample."""
    class_name: str
    """Its class."""
    cad_name: str
    """Its CAD model."""
    recipe: str
    """The recipe it was made under."""
    run_id: str
    """The run that has it."""
    image: str
    """Its address in the store."""
    strip: tuple[tuple[str, str], ...]
    """(name, address) of the render and of each control that the generator had to obey."""
    caption: str = ""
    """What was asked for."""
    seed: str = ""
    """As text: it has more digits than a browser's numbers."""
    azimuth_deg: float | None = None
    """Viewpoint, degrees."""
    elevation_deg: float | None = None
    """Viewpoint, degrees."""
    verdict: str = ""
    """kept, dropped, unjudged; empty: its cohort is not judged yet."""
    reason: str = ""
    """Why it was dropped."""
    words: str = ""
    """The judge that weighed most against it, and what it saw."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """name -> what was measured; those that rules look at come first."""
    tag: str | None = None
    """good, bad, doubtful; None: nobody said anything."""
    note: str = ""
    """What was said with it."""
    tagged_by: str = ""
    """Who said it."""
    tagged_at: str = ""
    """When, UTC, ISO 8601."""

    @property
    def place(self) -> Place:
        """Where it stands among all pictures."""
        return self.created_at, self.key


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which pictures are asked for."""

    class_name: str = ""
    """Of this class; empty: of all."""
    recipe: str = ""
    """Of this recipe; empty: of all."""
    tag: str = ""
    """With this tag, or untagged; empty: whatever it is."""

    def __post_init__(self) -> None:
        if self.tag not in ("", UNTAGGED, *TAGS):
            raise ValueError(f'no tag "{self.tag}"; there are {", ".join((*TAGS, UNTAGGED))}')

    def holds(self, picture: Picture) -> bool:
        """Say whether a picture is wanted."""
        return (
            self.class_name in ("", picture.class_name)
            and self.recipe in ("", picture.recipe)
            and (not self.tag or self.tag == (picture.tag or UNTAGGED))
        )


def newest(catalog: Catalog, wanted: Wanted, before: Place | None = None, limit: int = PAGE) -> list[Picture]:
    """Return the newest pictures of the catalog that are wanted, those that stand behind `before`."""
    image, member, tag = tables.images.c, tables.members.c, tables.tags
    statement = sa.select(image.image_key).where(image.status == "made")
    # An image of which no cohort has heard has no recipe yet; it is among what lands (see flows.landing).
    of_cohorts = sa.select(member.image_key).where(member.image_key == image.image_key)
    if wanted.recipe:
        of_cohorts = of_cohorts.where(member.recipe == wanted.recipe)
    statement = statement.where(of_cohorts.exists())
    if wanted.class_name:
        statement = statement.where(image.class_name == wanted.class_name)
    if wanted.tag:
        said = sa.select(tag.c.image_key).where(standing(tag), tag.c.tag.is_not(None))
        if wanted.tag == UNTAGGED:
            statement = statement.where(image.image_key.not_in(said))
        else:
            statement = statement.where(image.image_key.in_(said.where(tag.c.tag == wanted.tag)))
    if before is not None:
        at, key = before
        statement = statement.where(sa.or_(image.created_at < at, sa.and_(image.created_at == at, image.image_key < key)))
    statement = statement.order_by(image.created_at.desc(), image.image_key.desc()).limit(limit)
    with catalog.database.reading() as connection:
        keys = [str(key) for (key,) in connection.execute(statement)]
    return pictures(catalog, keys, wanted.recipe)


def pictures(catalog: Catalog, keys: Collection[str], recipe: str = "") -> list[Picture]:
    """Return the catalog's pictures of these keys, the newest first. recipe: of which cohort, where several share an image."""
    rows: dict[str, dict[str, Any]] = {}
    for row in _rows(catalog, keys):
        known = rows.get(row["image_key"])
        if known is None or _rank(row, recipe) > _rank(known, recipe):
            rows[row["image_key"]] = row
    measured = scores(catalog, ((row["verdict_key"], row["image_key"]) for row in rows.values()))
    kinds = controls(catalog, rows)
    told = verdicts(catalog, {row["verdict_key"] for row in rows.values() if row["verdict_key"]})
    ruled = {verdict_key: [rule.score for rule in verdict.rules] for verdict_key, verdict in told.items()}
    found = []
    for key, row in rows.items():
        named = measured.get((row["verdict_key"], key), {})
        first = [name for name in ruled.get(row["verdict_key"], ()) if name in named]
        if row["file"]:
            found.append(_picture(row, kinds.get(key, {}), {name: named[name] for name in (*first, *named)}))
    return sorted(found, key=lambda picture: picture.place, reverse=True)


def tagged(catalog: Catalog, shown: Iterable[Picture]) -> list[Picture]:
    """Return pictures that no cohort has yet with the tags that they have."""
    listed = list(shown)
    rows = catalog.tags_of([picture.key for picture in listed])
    return [_tagged(picture, rows[picture.key]) if picture.key in rows else picture for picture in listed]


def _tagged(picture: Picture, row: Mapping[str, Any]) -> Picture:
    said = {name: row[name] or "" for name in ("note", "tagged_by", "tagged_at")}
    return replace(picture, tag=row["tag"], note=said["note"], tagged_by=said["tagged_by"], tagged_at=said["tagged_at"])


def _rows(catalog: Catalog, keys: Collection[str]) -> Iterable[dict[str, Any]]:
    wanted = sorted(set(keys))
    for start in range(0, len(wanted), _AT_ONCE):
        named = {f"k{i}": key for i, key in enumerate(wanted[start : start + _AT_ONCE])}
        listed = ", ".join(f":{name}" for name in named)
        yield from catalog.rows(f"SELECT {', '.join(_COLUMNS)} FROM samples WHERE image_key IN ({listed})", **named)


def _rank(row: Mapping[str, Any], recipe: str) -> tuple[bool, int, bool, str]:
    """Return what makes one cohort's row of an image tell more than another's: asked for, present, judged."""
    return row["recipe"] == recipe, int(row["in_cohort"]), row["verdict_key"] is not None, str(row["recipe"])


def _picture(row: Mapping[str, Any], kinds: Mapping[str, str], measured: Mapping[str, float]) -> Picture:
    drawn = [("render", row["render_file"]), *control_files(row, kinds)]
    return Picture(
        key=row["image_key"],
        created_at=row["created_at"],
        sample_id=row["sample_id"],
        class_name=row["class_name"],
        cad_name=row["cad_name"] or "",
        recipe=row["recipe"],
        run_id=row["run_id"],
        image=row["file"],
        strip=tuple((name, str(address)) for name, address in drawn if address),
        caption=row["prompt"] or "",
        seed="" if row["seed"] is None else str(row["seed"]),
        azimuth_deg=row["azimuth_deg"],
        elevation_deg=row["elevation_deg"],
        verdict=decided(row["kept"]) if row["verdict_key"] is not None else "",
        reason=row["drop_reason"] or "",
        words=row["drop_words"] or "",
        scores=measured,
        tag=row["tag"],
        note=row["tag_note"] or "",
        tagged_by=row["tagged_by"] or "",
        tagged_at=row["tagged_at"] or "",
    )
