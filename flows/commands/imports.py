"""`dst import captions | images | filter | export`: what others made, filtered, queried and used beside our own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog
    from storage.settings import Settings

app = cyclopts.App(
    name="import",
    help="Take in captions and images that others made; kept apart from your own. Example: dst import captions captions.csv",
)

Origin = Annotated[str, Parameter(help="Whose they are: a name to ask for them by.")]


@app.command
def captions(
    path: Annotated[Path, Parameter(help="CSV with a caption and a synset or class, and the CAD model where it is known.")],
    /,
    *,
    class_name: Annotated[str | None, Parameter(name="--class", help="The class of all rows; else only its rows count.")] = None,
    origin: Origin = "3d-dst",
) -> None:
    """Import captions. A recipe takes its prompts from them with [caption] kind = "imported", origin = "3d-dst".

    Example: dst import captions captions.csv --origin 3d-dst
    """
    from storage.foreign.captions import read_captions
    from tasks.intake import foreign

    _check_origin(origin)
    rows = read_captions(path, class_name)
    catalog = _catalog(_settings())
    catalog.migrate()
    _check_models(catalog, path, rows)
    new = foreign.add_captions(catalog, origin, rows)
    there = Counter(row["class_name"] for row in rows)
    for name, count in sorted(new.items()):
        found = foreign.captions(catalog, name, origin)
        revision = found.revision[:12] if found else ""
        print(f"{name:<24} {there[name]} captions, {count} of them new  revision {revision}")
    print(f'use: dst run CLASS --overrides FILE.toml with [caption] kind = "imported", origin = "{origin}"')


@app.command
def images(
    path: Annotated[Path, Parameter(help="A folder with SYNSET/MODEL/image_dst/000_00.png and annotation/000.npy in it.")],
    /,
    *,
    class_name: Annotated[
        str | None, Parameter(name="--class", help="Only this class, or the class of a folder of models.")
    ] = None,
    origin: Origin = "3d-dst",
    folder: Annotated[str | None, Parameter(help="Only folders of images of this name, such as image_dst.")] = None,
) -> None:
    """Import images in the layout of the official code, with their poses turned into the canonical frame. Start again to go on.

    Example: dst import images DST3D --class airliner --origin 3d-dst
    """
    from flows.commands import terminal
    from storage.foreign import official
    from tasks.intake import foreign
    from tasks.intake.model import absolute
    from tasks.plan.place import Place

    _check_origin(origin)
    found = list(official.images(absolute(path), class_name, folder))
    with terminal.watched():
        taken = foreign.add_images(Place.of(_settings()), origin, found)
    for name, count in sorted(taken.classes.items()):
        print(f"{name:<24} {count} images")
    order = ("added", "remembered", "duplicate", "quarantined")
    print(f"{origin}: {', '.join(f'{taken.counts[status]} {status}' for status in order if taken.counts[status])}")
    for why, count in taken.poseless.most_common(5):
        print(f"{count} without a pose: {why}")
    print(f'filter them: dst import filter {origin} --class "{min(taken.classes, default="NAME")}"')


@app.command(name="filter")
def filter_(
    origin: Origin,
    /,
    *,
    class_name: Annotated[str, Parameter(name="--class", help="The class to judge.")],
    keep: Annotated[
        str | None,
        Parameter(help='What is kept, as of dst filter: "lose 5%", "2% left", "kcf at most 3"; default: as recipes do.'),
    ] = None,
    judges: Annotated[str, Parameter(help="Judges heard besides those that --keep needs, with commas between: pose,shape.")] = "",
) -> None:
    """Let judges look at imported images by the poses they came with; `kept` says what they found.

    What a judge must be taught, the class's own CAD models teach it.

    Example: dst import filter 3d-dst --class airliner --keep "lose 5%" --judges kcf,pose
    """
    from flows import deciding
    from flows.commands import terminal
    from models.verdict.spec import POSE_THRESHOLD
    from tasks import progress
    from tasks.plan.place import Place
    from tasks.run import in_words

    # Nobody says which controls the images were to obey, so it is their poses that are judged.
    asked = f"kcf at most {POSE_THRESHOLD:g}" if keep is None else keep
    kinds = [kind for kind in judges.replace(" ", "").split(",") if kind]
    with terminal.watched(), progress.stage("verdict", class_name, 100) as bar:
        place = Place.of(_settings())
        tell = lambda done, total: bar.advance(100 * done // total - bar.done)  # noqa: E731
        said = deciding.judge_imported(place, origin, class_name, asked, kinds, tell)
    counts = {name: said.kept.count(value) for name, value in (("kept", True), ("dropped", False), ("not_judged", None))}
    print(f"{class_name}: {in_words(counts)}; {said.words}")
    print(f"see: dst sql \"select path, kept from foreign_images where origin = '{origin}' and class_name = '{class_name}'\"")


@app.command
def export(
    out: Annotated[Path, Parameter(help="A folder that is not there yet, or empty.")],
    /,
    *,
    where: Annotated[str, Parameter(help="Which: a condition over foreign_images, in SQL.")] = "kept = 1",
) -> None:
    """Hand imported images over: folders of classes, and metadata.csv with pose, caption and CAD model of each.

    Example: dst import export released-and-kept --where "origin = '3d-dst' and kept = 1"
    """
    from storage.foreign.handover import hand_over

    count = hand_over(_catalog(_settings()), where, out.expanduser().absolute())
    print(f"{count} images in {out}, their poses in {out / 'metadata.csv'}")


def _check_models(catalog: Catalog, path: Path, rows: list[dict[str, str | None]]) -> None:
    """Refuse captions of CAD models that nobody has heard of, where the class has CAD models that have names in a collection."""
    named: dict[str, set[str]] = {}
    for row in catalog.cad_models(status=None):
        if row["uid"] is not None:
            named.setdefault(row["class_name"], set()).add(row["uid"])
    for class_name in sorted({str(row["class_name"]) for row in rows}):
        asked = {str(row["cad_uid"]) for row in rows if row["class_name"] == class_name and row["cad_uid"]}
        if class_name in named and asked and not asked & named[class_name]:
            raise ValueError(
                f'{path}: none of its {len(asked)} models of class "{class_name}" is in the catalog, such as '
                f'"{min(asked)}"; import them first: dst cad import --help'
            )
        if class_name in named and asked - named[class_name]:
            print(f"{class_name:<24} {len(asked - named[class_name])} of {len(asked)} models are not in the catalog")


def _check_origin(origin: str) -> None:
    if not origin or len(origin) > 80 or not origin.isprintable() or not origin[0].isalnum():
        raise ValueError(f'an origin is a short name such as "3d-dst", not "{origin[:40]}"')


def _catalog(settings: Settings) -> Catalog:
    from storage.catalog.catalog import Catalog

    return Catalog(settings.catalog, settings.store)


def _settings() -> Settings:
    from storage.settings import Settings

    return Settings()
