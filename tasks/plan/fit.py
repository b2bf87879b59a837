"""Whether a process of a cluster can be trusted with shards: asked of each before a run gives it any.

Enters: the place and the recipe of a run. Leaves: what the process says of itself, and, in one line, what is wrong with it.
"""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from tasks.plan.place import Place
from tasks.plan.recipe import Recipe

PACKAGES = ("dst-platform", "torch", "diffusers", "transformers", "bpy", "blenderproc", "prefect", "numpy", "opencv-python")
"""What bytes depend on, and what has to understand what another sends."""
GPU, RENDER = "gpu", "render"
"""What a worker offers, and a stage needs one of: a device that paints and judges, and renderers."""
_NOT_THERE = "none"


@dataclass(frozen=True, kw_only=True)
class Fitness:
    """What a process says of itself."""

    host: str
    """The name of its machine."""
    versions: Mapping[str, str]
    """Of Python, of PACKAGES and of this project's code."""
    sees_store: bool
    """Whether it finds in the store what the run has just put there."""
    lacks: str | None
    """What is missing for what it offers, in one line."""


def versions() -> dict[str, str]:
    """Return the versions of Python and of PACKAGES in this process."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = _NOT_THERE
    return found


def fitness(place: Place, recipe: Recipe, offers: Iterable[str], mark: str) -> Fitness:
    """Say what this process is; offers: GPU, RENDER; mark: what the run has counted in the store."""
    offered = set(offers)
    lacks = _no_blender() if RENDER in offered else None
    return Fitness(
        host=socket.gethostname(),
        versions=versions(),
        sees_store=place.store.count(mark) > 0,
        lacks=lacks or (recipe.image.lacking() if GPU in offered else None),
    )


def complaint(here: Fitness, workers: Mapping[str, Fitness | BaseException], place: Place, api: str) -> str | None:
    """Return, in one line, why these workers cannot do a run's shards; None where they can. api: the run's Prefect server."""
    for name, found in workers.items():
        if isinstance(found, BaseException):
            return (
                f"the worker {name} does not know this project ({type(found).__name__}: {found}): "
                "start it from an environment where the same version of it is installed"
            )
        differ = [
            f"{package} {found.versions.get(package, _NOT_THERE)} there and {at_hand} here"
            for package, at_hand in here.versions.items()
            if found.versions.get(package, _NOT_THERE) != at_hand
        ]
        if differ:
            return f"the worker {name} has other versions ({'; '.join(differ)}): install the same on both"
        if found.host != here.host:
            if place.catalog_url.startswith("sqlite"):
                return (
                    f"the worker {name} is on another machine ({found.host}), and the catalog is a SQLite file, which machines "
                    "cannot share: set DST_CATALOG_URL to a Postgres database, or take a cluster on this machine"
                )
            if not api or "//127.0.0.1" in api or "//localhost" in api:
                return (
                    f"the worker {name} is on another machine ({found.host}) and cannot reach the Prefect server at "
                    f"{api or 'this command'}: set DST_PREFECT_API_URL to one that both reach"
                )
        if not found.sees_store:
            return (
                f"the worker {name} does not see the store {place.store.where}: "
                "set DST_STORE_URL to a bucket, or to a folder that is mounted on both"
            )
        if found.lacks:
            return f"the worker {name} cannot do its part: {found.lacks}"
    return None


def blender() -> str:
    """Return the version of the Blender that starts in this environment. Raises RuntimeError, in one line, where none does."""
    # In a process of its own, as always: a missing system library shows as a failed import there.
    command = [sys.executable, "-P", "-c", "import bpy; print(bpy.app.version_string)"]
    tried = subprocess.run(command, capture_output=True, text=True)
    lines = tried.stdout.strip().splitlines()
    if not lines:
        last = (tried.stderr.strip().splitlines() or ["no output"])[-1]
        raise RuntimeError(f"Blender does not start: {last}; a missing library comes with: make install (as root)")
    return lines[0]


def _no_blender() -> str | None:
    try:
        blender()
    except RuntimeError as error:
        return str(error)
    return None
