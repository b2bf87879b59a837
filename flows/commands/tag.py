"""`dst tag`: what people say of images, from a terminal.

Enters: samples' names with good, bad or doubtful, or a CSV file of them. Leaves: records in the store and rows in the catalog,
the same as from the live pages. What is wrong is one line, and nothing of a file is written before all of it was read.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number

from storage.settings import Settings

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog
    from storage.catalog.tags import Said

_NONE = "none"
"""What takes a tag away, in a file and on the command line."""

app = cyclopts.App(
    name="tag",
    help="Say of images that they are good, bad or doubtful: truth for filters.\n\nExample: dst tag car-3fa9c1d27b10-0003-00 bad",
)


@app.default
def tag(
    sample: Annotated[str, Parameter(name="SAMPLE", help="A sample's name, as in the catalog's samples view.")],
    said: Annotated[str, Parameter(name="TAG", help="good, bad or doubtful; none takes the tag away.")],
    /,
    *,
    note: Annotated[str, Parameter(help="A line about it.")] = "",
    recipe: Annotated[str | None, Parameter(help="Which image of it, where it was made under several recipes.")] = None,
) -> None:
    """Tag the image that a sample has now. The last tag stands; all before it stay on record.

    Example: dst tag car-3fa9c1d27b10-0003-00 bad --note "no wheels"
    """
    catalog = _catalog()
    (one,) = _said(catalog, [("", {"sample_id": sample, "tag": said, "note": note, "recipe": recipe or ""})])
    (row,) = _write(catalog, [one])
    print(f"{row['sample_id']}  {row['tag'] or 'no tag'}, by {row['tagged_by']}{_what_next([one])}")


@app.command(name="list")
def listed(
    class_name: Annotated[str | None, Parameter(name="CLASS", help="Only this class.")] = None,
    /,
    *,
    tag: Annotated[str | None, Parameter(help="Only this tag.")] = None,
    limit: Annotated[int, Parameter(help="So many at most.", validator=Number(gte=1))] = 50,
) -> None:
    """List tags, the newest first.

    Example: dst tag list car --tag bad
    """
    from flows.commands.terminal import print_rows

    catalog = _catalog()
    _check_class(catalog, class_name)
    if tag is not None:
        _check_tag(tag)
    rows = catalog.tags(class_name, tag, limit)
    print_rows([{name: row[name] for name in ("sample_id", "tag", "note", "tagged_by", "tagged_at")} for row in rows])
    counts = catalog.tag_counts(class_name)
    print(f"{'no' if not sum(counts.values()) else ', '.join(f'{count} {name}' for name, count in counts.items())} tags")


@app.command(name="import")
def imported(
    file: Annotated[Path, Parameter(help="CSV with the columns sample_id and tag, and where wanted note and recipe.")], /
) -> None:
    """Tag many images at once, from a CSV file: all of it, or nothing where a line is wrong.

    Example: dst tag import tags.csv
    """
    catalog = _catalog()
    said = _said(catalog, [(f"{file}, line {number}: ", row) for number, row in _lines(file)])
    print(f"{len(_write(catalog, said))} images tagged{_what_next(said)}")


@app.command
def agreement(class_name: Annotated[str, Parameter(name="CLASS", help="The class.")], /) -> None:
    """Say how rules and scores agree with the tags of a class: precision, recall, AUROC.

    Example: dst tag agreement car
    """
    from flows.commands.terminal import print_rows
    from storage.report.agreement import of_class

    catalog = _catalog()
    _check_class(catalog, class_name)
    cohorts = of_class(catalog, class_name)
    if not cohorts:
        raise ValueError(f'{class_name} has no images yet; make some: dst run "{class_name}"')
    for recipe, found in cohorts.items():
        print(f"{class_name}, recipe {recipe}: {found.good} good, {found.bad} bad, {found.doubtful} doubtful")
        if not found.rules:
            print(found.wanting if not found.enough else "no rule has judged it yet")
            continue
        print_rows(
            [
                {
                    "rule": rule.name,
                    "bad ones dropped (recall)": str(rule.recall),
                    "dropped ones bad (precision)": str(rule.precision),
                    "not judged": rule.not_judged or "",
                    "in words": rule.words,
                }
                for rule in found.rules
            ]
        )
        print_rows(
            [
                {
                    "score": score.name,
                    "AUROC": f"{score.auroc:.3f}",
                    "bad is": f"{score.bad_is}{'' if score.by_rule else ' (as fits these tags)'}",
                    "good": score.good,
                    "bad": score.bad,
                }
                for score in found.scores
            ]
        )


def _catalog() -> Catalog:
    from storage.catalog.catalog import Catalog

    settings = Settings()
    catalog = Catalog(settings.catalog, settings.store)
    catalog.database.require_schema()
    return catalog


def _check_class(catalog: Catalog, class_name: str | None) -> None:
    from models.kinds import meant

    known = catalog.classes()
    if class_name is not None and class_name not in known:
        raise ValueError(f'no such class "{class_name}"{meant(class_name, known)}; see: dst cad list')


def _check_tag(tag: str, where: str = "") -> None:
    from storage.catalog.tags import TAGS

    if tag not in (*TAGS, _NONE):
        raise ValueError(f'{where}no tag "{tag}"; a tag is {", ".join(TAGS)}, or {_NONE} to take it away')


def _lines(file: Path) -> list[tuple[int, Mapping[str, str]]]:
    """Return (line, row) of a CSV file. Raises ValueError, in one line."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text in UTF-8") from None
    reader = csv.DictReader(text.splitlines())
    names = reader.fieldnames or []
    if missing := [name for name in ("sample_id", "tag") if name not in names]:
        raise ValueError(f"{file} has no column {' and no column '.join(missing)}; its first line is: sample_id,tag,note")
    rows: list[tuple[int, Mapping[str, str]]] = []
    for row in reader:
        rows.append((reader.line_num, {str(name): (value or "").strip() for name, value in row.items() if name}))
    if not rows:
        raise ValueError(f"{file} has no line behind the names of its columns")
    return rows


def _said(catalog: Catalog, rows: Sequence[tuple[str, Mapping[str, str]]]) -> list[Said]:
    """Return what rows (where they stand, columns) say of the images that samples have now. Raises ValueError, in one line."""
    from flows.history import members_of
    from storage.catalog.tags import Said

    members = catalog.members_of([row["sample_id"] for _, row in rows])
    said = []
    for where, row in rows:
        tag, sample_id, recipe = row["tag"].lower(), row["sample_id"], row.get("recipe") or None
        _check_tag(tag, where)
        try:
            found = [member for member in members.get(sample_id, ()) if recipe in (None, member["recipe"])]
            # Not there: the one question more says what is close.
            member = _with_image(found or members_of(catalog, sample_id, recipe))
            note = row.get("note") or None
            named = {name: member[name] for name in ("image_key", "sample_id", "class_name")}
            said.append(Said(**named, tag=None if tag == _NONE else tag, note=note))
        except ValueError as error:
            raise ValueError(f"{where}{error}") from None
    return said


def _with_image(members: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the row of the image that a sample has now. Raises ValueError where it has none, or several."""
    here = [member for member in members if member["in_cohort"]] or members[:1]
    made = {member["image_key"]: member for member in here if member["status"] == "made"}
    sample_id = here[0]["sample_id"]
    if not made:
        raise ValueError(f"{sample_id} has no image: there is nothing to tag (see: dst show {sample_id})")
    if len(made) > 1:
        recipes = ", ".join(sorted({member["recipe"] for member in here}))
        raise ValueError(f"{sample_id} has an image under each of the recipes {recipes}: say which (--recipe, or that column)")
    return next(iter(made.values()))


def _write(catalog: Catalog, said: Sequence[Said]) -> list[dict[str, Any]]:
    from flows.live import person

    return catalog.add_tags(said, by=person())


def _what_next(said: Sequence[Said]) -> str:
    classes = sorted({one.class_name for one in said})
    commands = [f'dst tag agreement "{name}"' if " " in name else f"dst tag agreement {name}" for name in classes[:3]]
    return f"; what tags say of the rules: {', '.join(commands)}"
