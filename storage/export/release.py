"""Releases: exported, named, immutable selections.

Enters: a format, a folder, a name, a condition over the `samples` view. Leaves: the folder, whole or not at all, and the
release's row in the catalog. The same name with the same samples is the same release, in whatever format; with other samples it
is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.artifacts import ArtifactStore
from storage.export import card
from storage.export.bop import Bop
from storage.export.coco import Coco
from storage.export.folder import FolderTaken, UnfinishedFolder, empty
from storage.export.format import Export, Format, write_json
from storage.export.huggingface import HuggingFace, header
from storage.export.imagefolder import ImageFolder
from storage.export.official import Official
from storage.export.pascal3d import Pascal3d
from storage.export.rows import load_each
from storage.export.selection import DEFAULT_WHERE, PIECE, Selection, freeze, refuse_several_recipes, unjudged
from storage.export.webdataset import WebDataset
from storage.export.yolo import DETECT, ORIENTED, SEGMENT

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (Coco(), Bop(), WebDataset(), HuggingFace(), Pascal3d(), ImageFolder(), Official(), DETECT, SEGMENT, ORIENTED)
}
CARD = "release/release.json"
SAMPLES = "release/samples.tsv"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Told = Callable[[int, int, int], None]
"""(samples written, samples in all, samples found written by an earlier try)."""


class ReleaseTaken(ValueError):
    """The name belongs to a release with other samples; one line."""


@dataclass(frozen=True, kw_only=True)
class Released:
    """What an export came to."""

    name: str
    """The release."""
    out: Path
    """The folder."""
    samples: int
    """How many are in it."""
    written: int
    """How many this call wrote; the others were there from a try before it."""
    digest: str
    """Of its samples and pictures."""
    left_out: int
    """Samples that the condition holds for and that have no image."""
    unjudged: int
    """Images that were left out because no rule could decide about them; counted where nobody said a condition."""


def export(
    catalog: Catalog,
    store: ArtifactStore,
    *,
    format: str,
    out: Path,
    name: str,
    where: str | None = None,
    told: Told = lambda done, total, before: None,
    piece: int = PIECE,
) -> Released:
    """Write a release into the folder `out` and note it in the catalog.

    where: a condition over the `samples` view; None: that of the release of this name, if there is one, else DEFAULT_WHERE.
    Raises ValueError in one line: a name or folder that is taken, a condition that is none or holds for nothing, pictures that
    are lost.
    """
    if format not in FORMATS:
        raise ValueError(f'no format "{format}"; there are: {", ".join(FORMATS)}')
    if not _NAME.fullmatch(name):
        raise ValueError(
            f'"{name}" cannot be the name of a release: letters, digits, dots, dashes and underscores, such as car-v1'
        )
    if catalog.exists:
        catalog.migrate()
    out = out.expanduser().absolute()
    if store.holds(out):
        raise FolderTaken(f"{out} lies in the artifact store, which holds artifacts and nothing else; give a folder elsewhere")
    _check_free(out, name, format)
    known = next((row for row in catalog.releases() if row["name"] == name), None)
    asked = where if where is not None else str(known["query"]) if known else DEFAULT_WHERE
    # A release of this name is what it was, even where its query would find more today.
    condition = _members(name) if known and asked == known["query"] else asked
    if where is None and not known:
        refuse_several_recipes(catalog)
    growing = UnfinishedFolder(out)
    written = 0
    with growing.held():
        present = _check_free(out, name, format)
        selection = replace(freeze(catalog, store, condition, growing.place / "rows.parquet", piece), where=asked)
        if known and known["digest"] != selection.digest:
            raise ReleaseTaken(
                f'release "{name}" has {known["samples"]} samples since {known["created_at"][:10]} and never changes; this would '
                f"be {selection.figures.samples} with other pictures: give another --name"
            )
        if present is not None and present["digest"] != selection.digest:
            raise FolderTaken(f"{out} holds release {name} with other samples than these; give another --name and folder")
        listed = [] if known else list(_listed(selection))
        if present is None:
            growing.belong({"name": name, "format": format, "digest": selection.digest, "where": asked, "piece": piece})
            present, written = _write(catalog, store, FORMATS[format], growing, selection, name, told)
            growing.commit()
        if known:
            catalog.add_release_copy(name, format, out)
        else:
            catalog.add_release(
                name=name, format=format, query=asked, digest=selection.digest, path=out, samples=listed, card=present
            )
    return Released(
        name=name,
        out=out,
        samples=selection.figures.samples,
        written=written,
        digest=selection.digest,
        left_out=selection.left_out,
        unjudged=unjudged(catalog) if asked == DEFAULT_WHERE and not known else 0,
    )


def difference(catalog: Catalog, old: str, new: str) -> dict[str, Any]:
    """Return how release `new` differs from `old`: sample_ids that joined, left and whose picture changed; counts by class.

    Raises ValueError for a name that is no release's.
    """
    rows = {row["name"]: row for row in catalog.releases()}
    for name in (old, new):
        if name not in rows:
            raise ValueError(f'no release "{name}"; there are: {", ".join(rows) or "none yet"}')
    one_sided = (
        "SELECT DISTINCT a.sample_id FROM release_samples a WHERE a.name = :here AND NOT EXISTS "
        "(SELECT 1 FROM release_samples b WHERE b.name = :there AND b.sample_id = a.sample_id) ORDER BY 1"
    )
    changed = (
        "SELECT DISTINCT a.sample_id FROM release_samples a WHERE a.name = :here AND EXISTS "
        "(SELECT 1 FROM release_samples b WHERE b.name = :there AND b.sample_id = a.sample_id) AND NOT EXISTS "
        "(SELECT 1 FROM release_samples b WHERE b.name = :there AND b.sample_id = a.sample_id AND b.sha256 = a.sha256) ORDER BY 1"
    )
    counts = {name: {key: value["samples"] for key, value in _card(rows[name])["classes"].items()} for name in (old, new)}
    return {
        "joined": [row["sample_id"] for row in catalog.rows(one_sided, here=new, there=old)],
        "left": [row["sample_id"] for row in catalog.rows(one_sided, here=old, there=new)],
        "changed": [row["sample_id"] for row in catalog.rows(changed, here=new, there=old)],
        "classes": {
            class_name: (counts[old].get(class_name, 0), counts[new].get(class_name, 0))
            for class_name in sorted({*counts[old], *counts[new]})
        },
    }


def found(catalog: Catalog, name: str) -> dict[str, Any]:
    """Return the row of a release, its card as a dict. Raises ValueError."""
    rows = {row["name"]: row for row in catalog.releases()}
    if name not in rows:
        raise ValueError(f'no release "{name}"; there are: {", ".join(rows) or "none yet"}')
    return rows[name] | {"card": _card(rows[name])}


def places(row: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (format, folder, time) of every folder that a release was written to, the first one first."""
    copies = [(copy["format"], copy["path"], copy["created_at"]) for copy in _card(row).get("copies", ())]
    return [(row["format"], row["path"], row["created_at"]), *copies]


def _card(row: Mapping[str, Any]) -> dict[str, Any]:
    held = row["card"]
    return dict(json.loads(held) if isinstance(held, str) else held or {"classes": {}})


def _write(
    catalog: Catalog, store: ArtifactStore, format: Format, growing: UnfinishedFolder, selection: Selection, name: str, told: Told
) -> tuple[dict[str, Any], int]:
    """Write what is missing of the release's folder; return its card and how many samples that were."""
    facts = card.card(catalog, selection, name, format.name)
    making = Export(name=name, selection=selection, facts=facts, folder=growing, store=store, catalog=catalog)
    missing = [number for number in selection.pieces if not growing.finished(number)]
    total = selection.figures.samples
    before = total - sum(min(selection.size, total - number * selection.size) for number in missing)
    done = before
    told(done, total, before)
    for number in missing:
        samples = selection.piece(number)
        growing.finish(number, format.piece(making, number, load_each(store, samples)))
        done += len(samples)
        told(done, total, before)
    format.finish(making)
    with growing.open(SAMPLES) as file:
        file.write(b"sample_id\tsha256\timage_key\tfile_name\n")
        for sample in selection.samples():
            line = f"{sample.row['sample_id']}\t{sample.row['sha256']}\t{sample.row['image_key']}\t{sample.name}\n"
            file.write(line.encode())
    growing.write("release/viewpoints.svg", card.viewpoints_svg(selection.figures.poses).encode())
    text = card.markdown(facts, format.contents, format.loading)
    growing.write("README.md", ((header(making) if isinstance(format, HuggingFace) else "") + text).encode())
    with growing.open(CARD) as file:
        write_json(file, facts)
    return facts, done - before


def _listed(selection: Selection) -> Iterator[dict[str, Any]]:
    columns = ("sample_id", "image_key", "sha256", "recipe", "render_key", "verdict_key")
    return ({name: sample.row[name] for name in columns} for sample in selection.samples())


def _members(name: str) -> str:
    # An image's key belongs to one sample, and the catalog finds members by it.
    return f"image_key IN (SELECT q.image_key FROM release_samples q WHERE q.name = '{name}')"


def _check_free(out: Path, name: str, format: str) -> dict[str, Any] | None:
    """Return the card of the release that is there already, None for a place that is free. Raises FolderTaken."""
    if empty(out):
        return None
    present = _present(out)
    if present is None or (present["name"], present["format"]) != (name, format):
        raise FolderTaken(f"{out} is not empty and does not hold release {name} as {format}; give a new or an empty folder")
    return present


def _present(out: Path) -> dict[str, Any] | None:
    """Return the card of the release that a folder holds, None if it holds something else."""
    try:
        facts = json.loads((out / CARD).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return facts if isinstance(facts, dict) and {"name", "format", "digest"} <= set(facts) else None
