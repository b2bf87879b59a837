"""The demo: the main job on bundled CAD models, on this machine, without internet or GPU."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from storage.settings import Settings

if TYPE_CHECKING:
    from tasks.plan.place import Place

CLASSES = ("car", "chair", "airplane")
MODELS = 4
FIRST_SEED = 20_000
"""Shapes the embedded generator was never trained on: training takes seeds below 10,000."""


def demo(settings: Settings, samples: int) -> None:
    """Register bundled CAD models of three classes, make their images, and say where everything is."""
    from flows.commands.run import launch
    from tasks.plan.pages import index_path, report_path, write_report
    from tasks.plan.place import Place
    from tasks.plan.ready import ready

    console = Console(stderr=True)
    started = time.monotonic()
    console.print(f"[bold]dst demo[/bold]: {len(CLASSES)} classes, {MODELS} CAD models each, {samples * len(CLASSES)} samples")
    place = Place.of(settings)
    ready(place)
    for class_name in CLASSES:
        _register(place, class_name)
    for run_id in launch(settings, list(CLASSES), samples, "embedded-quick"):
        if not report_path(place.home, run_id).exists():
            write_report(place, run_id)
    print(_ending(settings, index_path(place.home), time.monotonic() - started))


def _register(place: Place, class_name: str) -> None:
    """Write the bundled CAD models as files, like a user's, and register those that are not yet."""
    catalog = place.catalog
    folder = place.home / "bundled" / class_name
    known = {row["source"] for row in catalog.cad_models(class_name)} if catalog.exists else set()
    for seed in range(FIRST_SEED, FIRST_SEED + MODELS):
        path = folder / f"{class_name}-{seed}.glb"
        if path.exists() and str(path) in known:
            continue
        from models.cad import parametric
        from tasks.intake.model import register

        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(parametric.glb(class_name, seed))
        words, licence = parametric.keywords(class_name, seed), "MIT, made by this project"
        register(place, path, class_name, keywords=words, licence=licence, axes_by="this project, which made it so")


def _typed() -> str:
    """Return how a person types this command here: `dst` where the shell finds it, else its path, such as .venv/bin/dst."""
    here = os.path.relpath(sys.argv[0])
    return "dst" if shutil.which("dst") or not here.endswith("dst") else here


def _ending(settings: Settings, index: Path, seconds: float) -> str:
    dst = _typed()
    return f"""
done in {seconds:.0f} s
  report    {index}
  catalog   {settings.catalog}
  images    {settings.store.where}/image

next:
  {dst} status
  {dst} sql "select class_name, count(*), avg(kept) from samples group by 1"
  {dst} sql "select sample_id, prompt, azimuth_deg, kept, file from samples limit 5"
  {dst} cad add PATH/TO/YOUR/MODELS --class NAME --keywords "two, words"
  {dst} run NAME --samples 24"""
