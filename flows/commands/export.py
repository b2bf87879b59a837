"""`dst export`, `dst release list | show | diff` and `dst gallery`: what was made, handed over and looked at."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog
    from storage.settings import Settings

app = cyclopts.App(name="release", help="Look at releases: named, immutable selections of samples that were exported.")

FormatName = Literal[
    "coco", "bop", "webdataset", "huggingface", "pascal3d", "imagefolder", "official", "yolo", "yolo-seg", "yolo-obb"
]


def export_release(settings: Settings, format: str, out: Path, name: str, where: str | None) -> None:
    """Write a release and print where it is. Raises ValueError in one clear line."""
    from flows.commands.terminal import watched
    from flows.releasing import in_words, written

    with watched():
        made = written(settings, format, out, name, where)
    print("\n".join(in_words(made, format)))


def write_gallery_page(settings: Settings, where: str | None, out: Path | None) -> None:
    """Write the gallery page and print where it is. Raises ValueError in one clear line."""
    from flows.commands.terminal import watched
    from storage.report.gallery import DEFAULT_WHERE, write_gallery
    from tasks import progress

    page = out if out is not None else settings.root / "gallery" / "index.html"
    with watched():
        bars: list[Any] = []

        def told(done: int, total: int) -> None:
            if not bars:
                bars.append(progress.Bar(stage="gallery", class_name="", total=total, done=0))
            bars[0].advance(done - bars[0].done)

        made = write_gallery(_catalog(settings), settings.store, where or DEFAULT_WHERE, page, told)
        for bar in bars:
            bar.finished = True
            bar.tell()
    if made.lost:
        print(
            f"{made.lost} samples are not shown: their picture is missing from the store or damaged; make it again with: dst run"
        )
    print(f"{made.pictures} pictures: {made.page.absolute()}")


@app.command(name="list")
def list_() -> None:
    """List the releases, a line for each folder that one was written to.

    Example: dst release list
    """
    from storage.export.release import places

    releases = _catalog(_settings()).releases()
    if not releases:
        print("no releases yet; make one: dst export coco OUT --name car-v1")
        return
    _table(
        ("name", "format", "samples", "made", "digest", "query", "folder"),
        [
            (row["name"], format, row["samples"], made[:10], row["digest"][:12], row["query"], path)
            for row in releases
            for format, path, made in places(row)
        ],
    )


@app.command
def show(
    name: Annotated[str, Parameter(help="The release.")],
    /,
    *,
    format: Annotated[Literal["text", "json"], Parameter(help="text, or the whole card as json.")] = "text",
) -> None:
    """Show a release's card: what it is, how it was made, counts, filter, licences, limits.

    Example: dst release show car-v1
    """
    from storage.export.card import summary
    from storage.export.release import found, places

    row = found(_catalog(_settings()), name)
    if format == "json":
        json.dump(row["card"], sys.stdout, indent=1, ensure_ascii=False)
        print()
        return
    print(summary(row["card"]))
    print()
    for made_as, path, _ in places(row):
        print(f"{made_as:<12}{path}" + ("" if Path(path).exists() else " (no longer there)"))


@app.command
def diff(
    old: Annotated[str, Parameter(help="The older release.")],
    new: Annotated[str, Parameter(help="The newer release.")],
    /,
    *,
    format: Annotated[Literal["text", "json"], Parameter(help="text (the first of each), or json (all of them).")] = "text",
) -> None:
    """Compare two releases: samples that joined, left, or have another picture; counts by class.

    Example: dst release diff car-v1 car-v2
    """
    from storage.export.release import difference

    found = difference(_catalog(_settings()), old, new)
    if format == "json":
        json.dump(found, sys.stdout, indent=1, ensure_ascii=False)
        print()
        return
    _table(("class", old, new, "difference"), [(name, a, b, f"{b - a:+d}") for name, (a, b) in found["classes"].items()])
    for what in ("joined", "left", "changed"):
        listed = found[what]
        print(f"{len(listed):6d} {what}" + (f": {', '.join(listed[:3])}{' ...' if len(listed) > 3 else ''}" if listed else ""))


def _settings() -> Settings:
    from storage.settings import Settings

    return Settings()


def _catalog(settings: Settings) -> Catalog:
    from storage.catalog.catalog import Catalog

    return Catalog(settings.catalog, settings.store)


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*map(str, row))
    Console(width=None if sys.stdout.isatty() else 220).print(table)
