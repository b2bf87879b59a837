"""What others made: captions and images from elsewhere, kept apart from our own.

Enters: rows that storage.foreign has read and checked. Leaves: rows of foreign_captions and foreign_images, the captions a cohort
may take from them, and the K-fold filter's word on images that came with poses. Knows no Prefect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.caption.imported import ImportedCaptionSpec
from storage.catalog.catalog import Catalog
from storage.keys import canonical_json, digest
from tasks.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Captions:
    """All captions of a class from one origin."""

    revision: str
    """Digest of the captions and of what they belong to."""
    by_uid: Mapping[str | None, tuple[str, ...]]
    """A CAD model's name in its collection (None: of the whole class) -> captions, sorted."""

    def of(self, uid: str | None) -> tuple[str, ...]:
        """Return the captions for a CAD model: its own, else those of the whole class."""
        own = self.by_uid.get(uid, ()) if uid is not None else ()
        return own or self.by_uid.get(None, ()) or tuple(sorted(text for texts in self.by_uid.values() for text in texts))


def captions(catalog: Catalog, class_name: str, origin: str) -> Captions | None:
    """Return the imported captions of a class, None where that origin has none."""
    rows = catalog.rows(
        "select cad_uid, prompt from foreign_captions where origin = :origin and class_name = :class_name",
        origin=origin,
        class_name=class_name,
    )
    if not rows:
        return None
    pairs = sorted({(row["cad_uid"], row["prompt"]) for row in rows}, key=lambda pair: (pair[0] or "", pair[1]))
    by_uid: dict[str | None, list[str]] = {}
    for uid, prompt in pairs:
        by_uid.setdefault(uid, []).append(prompt)
    return Captions(
        revision=digest(canonical_json([list(pair) for pair in pairs]).encode()),
        by_uid={uid: tuple(texts) for uid, texts in by_uid.items()},
    )


def pinned(catalog: Catalog, class_name: str, recipe: Recipe) -> tuple[Recipe, Captions | None]:
    """Return the recipe with the digest of the captions it imports, and those captions; unchanged where the grammar writes.

    Raises ValueError where there are no such captions, or others than the recipe was pinned to.
    """
    spec = recipe.caption
    if not isinstance(spec, ImportedCaptionSpec):
        return recipe, None
    found = captions(catalog, class_name, spec.origin)
    if found is None:
        rows = catalog.rows("select distinct origin from foreign_captions where class_name = :class_name", class_name=class_name)
        there = ", ".join(sorted(row["origin"] for row in rows)) or "none"
        raise ValueError(
            f'no captions of origin "{spec.origin}" for class "{class_name}" (there are: {there}); '
            f"import some: dst import captions FILE.csv --origin {spec.origin}"
        )
    if spec.revision not in ("", found.revision):
        raise ValueError(
            f'the captions of origin "{spec.origin}" for class "{class_name}" have changed: revision {found.revision[:12]} '
            f"is here, {spec.revision[:12]} was asked for; leave the revision out to take what is here"
        )
    return replace(recipe, caption=replace(spec, revision=found.revision)), found


def recorded(catalog: Catalog, class_name: str, recipe: Recipe) -> Captions | None:
    """Return the captions that a recorded recipe takes its prompts from, as they are now; None where the grammar writes."""
    spec = recipe.caption
    return captions(catalog, class_name, spec.origin) if isinstance(spec, ImportedCaptionSpec) else None


def number_of(uid: str | None, prompt: str, taken: set[int]) -> int:
    """Return the number a caption is kept under: the same for the same caption, whatever it is imported with."""
    number = int(digest(canonical_json([uid, prompt]).encode())[:7], 16)
    while number in taken:
        number += 1
    taken.add(number)
    return number


def add_captions(catalog: Catalog, origin: str, found: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Add captions (class_name, cad_uid, prompt) to an origin; return class -> how many of them were new."""
    new: dict[str, int] = {}
    for class_name in sorted({row["class_name"] for row in found}):
        rows = catalog.rows(
            "select number, cad_uid, prompt from foreign_captions where origin = :origin and class_name = :class_name",
            origin=origin,
            class_name=class_name,
        )
        there = {(row["cad_uid"], row["prompt"]) for row in rows}
        taken = {int(row["number"]) for row in rows}
        wanted = dict.fromkeys((row["cad_uid"], row["prompt"]) for row in found if row["class_name"] == class_name)
        fresh = [pair for pair in wanted if pair not in there]
        catalog.add_foreign_captions(
            [
                {
                    "origin": origin,
                    "class_name": class_name,
                    "number": number_of(uid, prompt, taken),
                    "cad_uid": uid,
                    "prompt": prompt,
                }
                for uid, prompt in fresh
            ]
        )
        new[class_name] = len(fresh)
    return new
