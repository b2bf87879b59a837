"""The tasks of the benchmark of filters: sets, panel, judges, figures, package.

Enters: a FiltersSpec and a place. Leaves: figures.json, README.md, kinds.png, costs.png, and on demand a package. Each may be
killed at any moment and goes on where it was: views, pictures, readouts and what was judged are files named by all that
determines them, so Prefect's cache is not asked.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from models.evaluation.filters.spec import STAGE, VERSION, FiltersSpec, setting
from storage.catalog.catalog import Catalog
from storage.export.folder import FolderTaken, UnfinishedFolder, empty
from storage.folders import write_whole
from storage.keys import artifact_key
from tasks import evaluate, stopping, worker
from tasks.plan.place import Place
from tasks.states import ends_when_told

if TYPE_CHECKING:
    from models.evaluation.filters.sets import FilterSet
    from models.evaluation.painting import Painter

log = logging.getLogger("dst")


def folder_of(place: Place) -> Path:
    """Return the folder of everything that benchmarks of filters keep."""
    return evaluate.folder_of(place) / "filters"


def judged_in(place: Place) -> Path:
    """Return where it is kept what judges said and readouts learned."""
    return folder_of(place) / "judged"


@task(name="filter-images", task_run_name="images of {class_name}", cache_policy=NO_CACHE)
@ends_when_told
def images(place: Place, spec: FiltersSpec, class_name: str) -> int:
    """Paint the views of a class that are missing; return how many there are."""
    from models.evaluation.filters import sets

    with worker.turn(setting(), place):
        painter = _painter(place)
        return len(sets.shown(painter, sets.kept_views(spec, class_name, painter.folder)))


@task(name="filter-failures", task_run_name="failures of {class_name}", cache_policy=NO_CACHE)
@ends_when_told
def failures(place: Place, spec: FiltersSpec, class_name: str, *after: Any) -> list[str]:
    """Paint what the failures of a class need; return the names of its sets."""
    with worker.turn(setting(), place):
        return [made.name for made in _sets(place, spec, class_name)]


@task(name="filter-panel", task_run_name="what the panel sees", cache_policy=NO_CACHE)
@ends_when_told
def panel(place: Place, spec: FiltersSpec, members: list[str], *after: Any) -> str:
    """Let the held-out panel look at every painted image; return the file of what failed by itself or may have."""
    from models.evaluation.filters import panel as panels
    from models.evaluation.filters import sets

    path = folder_of(place) / f"own-{artifact_key(STAGE, VERSION, spec, {'members': members})[:32]}.json"
    if not path.exists():
        shown = [one for some in sets.sound(spec, _painter(place)).values() for one in some]
        readers = panels.load([Path(member) for member in members], place.threads)
        own = panels.own_failures(readers, shown)
        for name in spec.classes:
            for one in _sets(place, spec, name):
                own |= panels.taken(readers, one.shown)
        write_whole(path, (json.dumps(own, indent=1, sort_keys=True) + "\n").encode())
        log.info("panel   %d words on %d images and on wrong prompts", len(own), len(shown))
    return str(path)


@task(name="filter-judge", task_run_name="{row} of {class_name}", cache_policy=NO_CACHE)
@ends_when_told
def judge(place: Place, spec: FiltersSpec, class_name: str, row: str, official: bool = False, *after: Any) -> int:
    """Let one row's judge look at the sets of a class; return how many sets it has judged."""
    from models.evaluation.filters import judging

    (asked,) = [one for one in judging.rows(official) if one.name == row]
    made = _sets(place, spec, class_name)
    for one in made:
        found = judging.judge(asked.spec, one, judged_in(place), place.device, place.threads, lambda done, total: stopping.heed())
        log.info("judged  %s  %s  %.1f s", one.name, row, found.seconds)
        stopping.heed()
    return len(made)


@task(name="filter-figures", task_run_name="figures of filters", cache_policy=NO_CACHE)
@ends_when_told
def measure(
    place: Place, spec: FiltersSpec, names: list[str], own: str, out: str, command: str, official: bool = False, *after: Any
) -> dict[str, Any]:
    """Measure what the rows' judges said; write figures.json, README.md and plots into `out`; return the figures."""
    from models.evaluation.filters import card, judging, plot, table

    rows = [row for row in judging.rows(official) if row.name in names]
    made = [one for name in spec.classes for one in _sets(place, spec, name)]
    judged = {
        row.name: [judging.judge(row.spec, one, judged_in(place), place.device, place.threads) for one in made] for row in rows
    }
    figures = table.figures(spec, made, rows, judged, _own(own))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "figures.json", (json.dumps(figures, indent=1) + "\n").encode())
    write_whole(folder / card.PLOT, plot.kinds(figures))
    write_whole(folder / card.COSTS, plot.cost(figures))
    write_whole(folder / "README.md", card.card(figures, command).encode())
    create_markdown_artifact(card.tables(figures), key="filters", description="what filters are worth")
    return figures


@task(name="filter-package", task_run_name="package of the benchmark", cache_policy=NO_CACHE)
@ends_when_told
def package(place: Place, spec: FiltersSpec, own: str, figures: Mapping[str, Any], out: str) -> str:
    """Write the benchmark as a folder for others, set by set; return it. Raises FolderTaken."""
    from models.evaluation.filters import package as packages

    made = [one for name in spec.classes for one in _sets(place, spec, name)]
    growing = UnfinishedFolder(Path(out))
    with growing.held():
        if not empty(growing.out):
            raise FolderTaken(f"{out} is not empty; give a new or an empty folder")
        growing.belong({"stage": STAGE, "version": VERSION, "spec": json.loads(json.dumps(figures["spec"]))})
        for number, one in enumerate(made):
            if not growing.finished(number):
                for name, data in packages.files(one):
                    growing.write(name, data)
                growing.finish(number, [])
            stopping.heed()
        for name, data in packages.whole(made, _own(own), figures):
            growing.write(name, data)
        if growing.out.exists():
            growing.out.rmdir()
        growing.commit()
    return out


def tagged(catalog: Catalog, class_name: str = "") -> dict[str, Any]:
    """Return the figures of stored scores against what people said of the images. Raises ValueError where nobody did."""
    from models.evaluation.cases import kind_of
    from models.evaluation.filters import score
    from models.evaluation.filters.judging import HIGH
    from models.evaluation.filters.table import plain

    where = "s.class_name = :class_name AND " if class_name else ""
    found = catalog.rows(
        f"SELECT * FROM samples s WHERE {where}s.tag IS NOT NULL", **({"class_name": class_name} if class_name else {})
    )
    of = f" of {class_name}" if class_name else ""
    said = {row["tag"] for row in found}
    if not {"good", "bad"} <= said:
        raise ValueError(f"people must have called images{of} good and others bad; say so on the live pages or with: dst tag")
    truth = {"good": "", "bad": "bad", "doubtful": "doubtful"}
    rows = [
        {
            "set": f"{row['class_name']} {row['recipe']}",
            "class": str(row["class_name"]),
            "part": "tags",
            "viewpoint": kind_of(row["azimuth_deg"] or 0.0, row["elevation_deg"] or 0.0),
            "failure": truth[row["tag"]],
        }
        for row in found
    ]
    told: dict[str, Any] = {}
    for name, high in {**HIGH, "kcf_official": True}.items():
        values = np.array([row.get(name) for row in found], np.float64)
        if not np.isnan(values).all():
            told[name] = score.measure(rows, values if high else -values)
    dropped = np.array([np.nan if row["kept"] is None else 1.0 - row["kept"] for row in found], np.float64)
    if not np.isnan(dropped).all():
        told["the rules"] = score.measure(rows, dropped)
    return {"rows": plain(told), "images": len(rows), "tags": {tag: sum(row["tag"] == tag for row in found) for tag in truth}}


def _sets(place: Place, spec: FiltersSpec, class_name: str) -> list[FilterSet]:
    """Return the sets of a class; what is painted already is only read."""
    return _made_sets(spec, class_name, _painter(place))


@lru_cache(maxsize=16)
def _made_sets(spec: FiltersSpec, class_name: str, painter: Painter) -> list[FilterSet]:
    """Return the sets, found once a process: which images can fail in which way takes some hundred traced views."""
    from models.evaluation.filters import sets

    return sets.of_class(spec, class_name, sets.sound(spec, painter), painter)


def _painter(place: Place) -> Painter:
    return evaluate.painter_of(place, setting())


def _own(path: str) -> dict[str, str]:
    return dict(json.loads(Path(path).read_text())) if path else {}
