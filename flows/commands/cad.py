"""`dst cad add | list | show | align`: CAD models in and out of the catalog."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from flows.commands import adding
from flows.commands.adding import Axis

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog
    from storage.settings import Settings

app = cyclopts.App(name="cad", help="Add CAD models, look at them, correct which way they face.")


@app.command
def add(
    path: Annotated[Path, Parameter(help="A file (obj, glb, gltf, ply, stl, off, dae), or a folder of them.")],
    /,
    *more: Annotated[Path, Parameter(help="More of them, as a shell makes of *.obj.")],
    class_name: Annotated[
        str | None, Parameter(name="--class", help="The class; for a folder, default: its subfolders' names.")
    ] = None,
    keywords: Annotated[str | None, Parameter(help='Words for the captions, such as "hatchback, city car".')] = None,
    up: Annotated[
        Axis,
        Parameter(
            allow_leading_hyphen=True, help="Axis of the file that points up; auto: sidecar, else the format's convention."
        ),
    ] = "auto",
    front: Annotated[
        Axis, Parameter(allow_leading_hyphen=True, help="Axis of the file that the front faces; auto likewise.")
    ] = "auto",
    licence: Annotated[str | None, Parameter(help='Such as "CC BY 4.0".')] = None,
    orientations: Annotated[
        Path | None, Parameter(help="TOML file with up and front for each cad_id, for folders you cannot write to.")
    ] = None,
    symmetry: Annotated[
        int | None,
        Parameter(
            help="Turns about the upright axis that do not show: 1 none, 4 a square table's, 0 any (default: from the mesh)."
        ),
    ] = None,
    max_faces: Annotated[int | None, Parameter(help="Refuse meshes with more faces; default 2 million.")] = None,
) -> None:
    """Add CAD models: each becomes one canonical GLB in the store and a row in the catalog.

    A file `<model>.dst.toml` beside a model, or `dst.toml` in a folder, may say up, front, keywords, licence (and class).

    Example: dst cad add my_models/hatchback.obj --class car --keywords "hatchback, city car" --up +z --front -y
    """
    from flows.prefect_env import server
    from storage.cad.folder import scan_each
    from storage.cad.sidecar import read_orientations
    from tasks.events import cad_models_registered
    from tasks.plan.place import Place

    settings = _settings(max_faces)
    place = Place.of(settings)
    said = read_orientations(orientations) if orientations is not None else {}
    asked = adding.Asked(class_name, keywords, up, front, licence, symmetry)
    wanted, left_out = adding.checked(adding.to_be_seen(scan_each([path, *more])), asked)
    registered = adding.registered(place, wanted, asked, said, left_out)
    cad_models_registered(settings, server(settings), registered)
    adding.sum_up(place.catalog, registered, left_out)
    if all(made.status == "rejected" for made in registered):
        sys.exit(1)


@app.command(name="import")
def import_(
    collection: Annotated[
        Literal["shapenet", "objaverse", "omniobject3d", "toys4k", "folder"], Parameter(help="Whose layout the folder has.")
    ],
    path: Annotated[Path, Parameter(help="The folder that the collection was unpacked to.")],
    /,
    *,
    class_names: Annotated[
        list[str] | None,
        Parameter(name="--class", help="Only these classes; where the collection knows no classes, the one class of all."),
    ] = None,
    cad_list: Annotated[
        Path | None, Parameter(name="--list", help="CSV: synset, model, distance, azimuth, elevation, strength, sampling.")
    ] = None,
    limit: Annotated[int | None, Parameter(help="At most so many CAD models of each class.")] = None,
    strength: Annotated[Literal[1, 2], Parameter(help="With --list: 1 leaves out models that only resemble their class.")] = 2,
    download: Annotated[bool, Parameter(help="Objaverse: fetch the list's models that are not there.", negative="")] = False,
    again: Annotated[bool, Parameter(help="Read what was refused before once more.", negative="")] = False,
    dry_run: Annotated[bool, Parameter(help="Say what would be read, and stop.", negative="")] = False,
) -> None:
    """Take in a collection in its publishers' layout: ShapeNet v2, Objaverse, OmniObject3D, Toys4K or a folder of your own.

    Start it again and it goes on where it was; what was read is not read again. See docs/collections.md.

    Example: dst cad import shapenet ShapeNetCore.v2 --list 3d-dst-models.csv --class airliner --limit 30
    """
    from flows.commands.collections import bring_in

    bring_in(
        _settings(),
        collection,
        path,
        classes=class_names or [],
        cad_list=cad_list,
        limit=limit,
        strength=strength,
        download=download,
        again=again,
        dry_run=dry_run,
    )


@app.command(name="list")
def list_(
    class_name: Annotated[str | None, Parameter(name="CLASS", help="Only this class.")] = None,
    /,
    *,
    rejected: Annotated[bool, Parameter(help="Only files that were refused, each with its reason.", negative="")] = False,
) -> None:
    """List the registered CAD models, the rejected ones with their reason.

    Example: dst cad list car
    """
    catalog = _catalog(_settings())
    if rejected:
        _list_refused(catalog, class_name)
        return
    rows = catalog.cad_models(class_name, status=None)
    if not rows:
        where = f' in class "{class_name}"' if class_name else ""
        print(f'no CAD models{where} yet; add some: dst cad add PATH --class "{class_name or "NAME"}"')
        return
    from rich.console import Console
    from rich.table import Table

    from tasks.intake.orientation import doubts_of

    names = ("class", "cad_id", "cad_name", "faces", "facts", "up", "front", "orientation", "keywords")
    table = Table(*names, box=None, header_style="bold")
    for row in rows:
        facts = row["facts"] or {}
        said = ", ".join(word for word in ("textured", "watertight") if facts.get(word))
        warned = f"{len(facts['warnings'])} warnings" if facts.get("warnings") else ""
        usable = row["status"] == "ok"
        usable_rows = [other for other in rows if (other["class_name"], other["status"]) == (row["class_name"], "ok")]
        table.add_row(
            row["class_name"],
            row["cad_id"][:12],
            row["cad_name"],
            str(row["faces"] or ""),
            ", ".join(filter(None, (said, warned, row["reason"]))) if usable else f"{row['status']}: {row['reason']}",
            facts.get("up", row["up"]),
            facts.get("front", row["front"]),
            f"{row['orientation'] or 'assumed'}{', doubted' if usable and doubts_of(row, usable_rows) else ''}",
            row["keywords_text"],
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _list_refused(catalog: Catalog, class_name: str | None) -> None:
    """Print every file that was refused: rejected CAD models, and files that are none."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from tasks.intake.watch import refused

    rows = refused(catalog, class_name)
    if not rows:
        print("no file was refused")
        return
    table = Table("class", "file", "reason", "detail", "since", box=None, header_style="bold")
    for row in rows:
        table.add_row(*(escape(str(row[name] or "")) for name in ("class", "file", "reason", "detail", "since")))
    Console(width=None if sys.stdout.isatty() else 400).print(table)


@app.command
def remove(
    model: Annotated[str, Parameter(help="A cad_id or the start of it, or a name, as `dst cad list` shows them.")],
    /,
    *,
    class_name: Annotated[str | None, Parameter(name="--class", help="Where it is in several classes.")] = None,
) -> None:
    """Take a CAD model out of its class: the next run makes its share from the others. What was made from it stays on record.

    Example: dst cad remove 3fa9c1d2
    """
    catalog = _catalog(_settings())
    row = _find(catalog, model, class_name)
    catalog.mark_cad_model(row["class_name"], row["cad_id"], status="removed", reason="removed", detail=None)
    print(f'removed   {row["class_name"]}/{row["cad_name"]}  {row["cad_id"][:12]}  (back with: dst cad add "{row["source"]}")')


@app.command
def show(
    model: Annotated[str, Parameter(help="A cad_id or the start of it, or a name, as `dst cad list` shows them.")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Where to write the sheet; default: in the home folder.")] = None,
) -> None:
    """Print what is known about a CAD model and write a sheet of six views, with arrows where up and front are.

    Example: dst cad show 3fa9c1d2
    """
    from tasks.intake.orientation import axes_line, doubts_of

    settings = _settings()
    catalog = _catalog(settings)
    row = _find(catalog, model)
    facts = dict(row["facts"] or {})
    for name in (
        "class_name",
        "cad_name",
        "cad_id",
        "source",
        "keywords_text",
        "licence",
        "status",
        "reason",
        "detail",
        "cad_key",
    ):
        if row[name]:
            print(f"{name.removesuffix('_text'):<22}{row[name]}")
    for name in ("up", "front", "faces", "vertices", "parts", "extents", "watertight", "textured"):
        if name in facts:
            print(f"{name:<22}{facts[name]}")
    for axes in row["alignment"] or []:
        print(f"{'turned further by':<22}{'  '.join(f'{value:11.6f}' for value in axes)}")
    for name in ("collection", "uid", "camera"):
        if row[name]:
            print(f"{name:<22}{row[name]}")
    if row["status"] == "ok":
        print(f"{'orientation':<22}{axes_line(row)}")
        for doubt in doubts_of(row, catalog.cad_models(row["class_name"])):
            print(f"{'doubt':<22}{doubt}")
    if row["symmetry"] is not None:
        print(f"{'symmetry':<22}{adding.symmetry_line(row).removeprefix('symmetry ')}")
    for matrix_row in facts.get("canonical_from_source", []):
        print(f"{'canonical_from_source':<22}{'  '.join(f'{value:11.6f}' for value in matrix_row)}")
    for warning in facts.get("warnings", []):
        print(f"{'warning':<22}{warning}")
    if row["status"] == "ok":
        print(f"{'sheet':<22}{_sheet(settings, row, out)}")


@app.command
def align(
    model: Annotated[str, Parameter(help="A cad_id or the start of it, or a name, as `dst cad list` shows them.")],
    /,
    *,
    up: Annotated[Axis, Parameter(allow_leading_hyphen=True, help="Axis of the source file that points up.")] = "auto",
    front: Annotated[
        Axis, Parameter(allow_leading_hyphen=True, help="Axis of the source file that the front faces, such as --front -y.")
    ] = "auto",
    ok: Annotated[bool, Parameter(help="You looked at its sheet (dst cad show) and it is right.", negative="")] = False,
) -> None:
    """Correct which way a CAD model faces (it gets a new canonical GLB; what was made from the old one stays), or confirm it.

    Example: dst cad align 3fa9c1d2 --up +z --front -y
    """
    from tasks.intake.model import align as realign
    from tasks.intake.orientation import confirm
    from tasks.plan.place import Place

    settings = _settings()
    catalog = _catalog(settings)
    row = _find(catalog, model)
    facts = row["facts"] or {}
    if (up, front) != ("auto", "auto"):
        # What is not given stays as it is, where the two can go together.
        up = up if up != "auto" else _kept(facts.get("up"), front)
        front = front if front != "auto" else _kept(facts.get("front"), up)
        adding.report(realign(Place.of(settings), row["class_name"], row["cad_id"], up, front))
        row = _find(catalog, row["cad_id"], row["class_name"])
    elif not ok:
        now = f"now up is {facts.get('up')} and front {facts.get('front')}"
        raise ValueError(f"say which way it faces; {now}, as in: --front -y; or, if that is right: --ok")
    if ok:
        row = confirm(catalog, row)
        print(f"confirmed {row['class_name']}/{row['cad_name']}  {row['cad_id'][:12]}")
    if row["status"] == "ok":
        print(f"          {_sheet(settings, row, None)}")


def _kept(axis: Any, other: str) -> Any:
    return axis if axis and axis[1] != other[1] else "auto"


def _sheet(settings: Settings, row: dict[str, Any], out: Path | None) -> Path:
    from models.cad.sheet import sheet
    from tasks.intake.model import MODEL

    facts = row["facts"]
    title = f"{row['class_name']}: {row['cad_name']}   {row['cad_id'][:12]}   up {facts['up']} front {facts['front']} of the file"
    title += ", then turned" if row["alignment"] else ""
    target = out or settings.root / "sheets" / f"{row['class_name'].replace(' ', '_')}-{row['cad_id'][:12]}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    with settings.store.local(settings.store.get("cad", row["cad_key"]), MODEL) as glb:
        target.write_bytes(sheet(glb, title))
    return target


def _find(catalog: Catalog, text: str, class_name: str | None = None) -> dict[str, Any]:
    from models.kinds import meant

    rows = catalog.cad_models(class_name, status=None)
    found = [row for row in rows if row["cad_id"].startswith(text)] if len(text) >= 4 else []
    found = found or [row for row in rows if text in (row["cad_name"], f"{row['class_name']}/{row['cad_name']}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f'"{text}" are {len(found)} CAD models; say more of the cad_id: {", ".join(r["cad_id"][:12] for r in found)}'
        )
    names = {str(row["cad_name"]) for row in rows}
    raise ValueError(f'no CAD model "{text}" in the catalog{meant(text, names)}; see: dst cad list')


def _catalog(settings: Settings) -> Catalog:
    from storage.catalog.catalog import Catalog

    catalog = Catalog(settings.catalog, settings.store)
    if catalog.exists:
        catalog.migrate()
    return catalog


def _settings(max_faces: int | None = None) -> Settings:
    from storage.settings import Settings

    return Settings() if max_faces is None else Settings(max_faces=max_faces)
