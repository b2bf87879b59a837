"""Doctor: what is installed, reachable and working on this machine."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from flows.prefect_env import server
from models.device import pick_device
from storage.catalog.catalog import Catalog
from storage.folders import try_folder
from storage.settings import Settings


def doctor(settings: Settings) -> bool:
    """Print one line a check; return whether all hold."""
    console = Console()
    checks: list[tuple[str, Callable[[Settings], str]]] = [
        ("python", _python),
        ("packages", _packages),
        ("home folder", _home),
        ("store", _store),
        ("catalog", _catalog),
        ("renderer", _renderer),
        ("generator", _generator),
        ("recipes", _recipes),
        ("generators", _hub),
        ("device", _device),
        ("prefect", _prefect),
    ]
    sound = True
    for name, check in checks:
        try:
            console.print(f"[green]ok[/green]    {name:<12} {escape(check(settings))}", highlight=False, soft_wrap=True)
        except (ValueError, OSError, RuntimeError, ImportError) as error:
            sound = False
            console.print(f"[red]wrong[/red] {name:<12} {escape(str(error))}", highlight=False)
    return sound


def _python(settings: Settings) -> str:
    if sys.version_info[:2] != (3, 11):
        raise RuntimeError(f"Python {sys.version.split()[0]}: the renderer's wheel needs 3.11")
    return sys.version.split()[0]


def _packages(settings: Settings) -> str:
    names = ("torch", "diffusers", "transformers", "prefect", "bpy", "blenderproc")
    return "  ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def _home(settings: Settings) -> str:
    if not settings.root.exists():
        return f"{settings.root}: none yet (made by the first `dst cad add` or `dst demo`)"
    try_folder(settings.root)
    free = shutil.disk_usage(settings.root).free / 2**30
    if free < 1:
        raise RuntimeError(f"{settings.root}: only {free:.1f} GiB free; a class of 2,500 samples at 512 px takes about 3 GiB")
    return f"{settings.root}, {free:.0f} GiB free"


def _store(settings: Settings) -> str:
    if settings.store.blobs.folder is None:
        settings.store.try_writing()
        return f"{settings.store.where}: can be written, each key once"
    return settings.store.where


def _catalog(settings: Settings) -> str:
    catalog = Catalog(settings.catalog, settings.store)
    if not catalog.exists:
        return "none yet (made by the first `dst cad add` or `dst demo`)"
    return f"{len(catalog.classes())} classes, {len(catalog.cad_models())} CAD models, {len(catalog.runs())} runs"


def _renderer(settings: Settings) -> str:
    from tasks.plan.fit import blender

    return f"Blender {blender()}"


def _generator(settings: Settings) -> str:
    from models.image.controlnet import ControlNetSpec

    return f"embedded weights {ControlNetSpec().pinned().revision[:19]}"


def _recipes(settings: Settings) -> str:
    from flows import recipes

    lacking = {name: recipes.lacking(name) for name in recipes.names()}
    # Nothing is wrong with a machine that cannot make every recipe there is.
    return ", ".join(name for name, why in lacking.items() if why is None)


def _hub(settings: Settings) -> str:
    from huggingface_hub import constants

    from flows import offers

    states = [f"{name}: {offers.state(name, settings.device)}" for name in offers.recipes_from_hub()]
    return "\n                   ".join([f"weights in {constants.HF_HUB_CACHE}; dst models list has sizes and licences", *states])


def _device(settings: Settings) -> str:
    found = pick_device(settings.device)
    return found if found == settings.device else f"{found} (DST_DEVICE is {settings.device})"


def _prefect(settings: Settings) -> str:
    api = server(settings).rstrip("/")
    if not api:
        return "no standing server (dst serve, or DST_PREFECT_API_URL): one is started for each run"
    import httpx

    try:
        httpx.get(f"{api}/health", timeout=10).raise_for_status()
    except httpx.HTTPError as error:
        raise RuntimeError(
            f"the server at {api} does not answer: {error}; start it, or leave DST_PREFECT_API_URL empty"
        ) from None
    return f"server at {api} is healthy"
