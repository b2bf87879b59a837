"""Offers: what the recipes whose generators come from a hub take, in bytes, licences and arithmetic, and what of it is here.

Enters: names of recipes, or hub ids. Leaves: the models behind them, and rows and lines for people. No network is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows import recipes
from flows.estimate import disk, duration
from flows.hub_recipes import FROM_HUB
from models.image import weights
from models.image.diffusion import DiffusionSpec
from models.image.known import Price, price
from models.kinds import BadSpec, meant
from tasks.plan.recipe import Recipe


def recipes_from_hub() -> list[str]:
    """Return the recipes of ours whose generators come from a hub."""
    return list(FROM_HUB)


def models_of(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return (hub id, commit or MAIN) of every model behind recipes, or of hub ids (`owner/name@commit`). Raises BadSpec."""
    found: dict[tuple[str, str], None] = {}
    for name in names:
        if "/" in name:
            model, _, commit = name.partition("@")
            if weights.folder_of(model) is None:
                found[model, commit or weights.MAIN] = None
            continue
        if name not in recipes.names():
            known = recipes.names()
            raise BadSpec(f'no recipe "{name}"{meant(name, known)}, and no hub id (owner/name); recipes: {", ".join(known)}')
        image = recipes.resolve(name).image
        of_hub = image.models if isinstance(image, DiffusionSpec) else []
        found |= {(model, commit): None for model, commit in of_hub if weights.folder_of(model) is None}
    return list(found)


def rows() -> list[dict[str, Any]]:
    """Return a row for each recipe from a hub."""
    return [_row(name, recipes.resolve(name)) for name in FROM_HUB]


def in_words(recipe: Recipe, images: int = 1) -> list[str]:
    """Return, in lines, what a recipe's generator is and takes for so many images; none where it is not known, or is our own."""
    costs = price(recipe.image)
    if costs is None:
        return []
    licences: dict[str, list[str]] = {}
    for model, licence in costs.licences.items():
        licences.setdefault(licence, []).append(model)
    image: Any = recipe.image
    pinned = " and ".join(f"{model}@{_pinned(model, commit)}" for model, commit in image.models)
    lines = [
        f"recipe {recipe.name}: {', '.join(recipe.controls)} to {pinned}; {image.resolution} px, {image.steps} steps, "
        f"guidance {image.guidance:g}, {image.dtype} (--verbose: all of it)",
        f"generator: {_size(recipe, costs)}; weights take {disk(costs.weights)} of GPU memory, painting more (not measured)",
        f"  one image: {costs.tflop:.0f} TFLOP, so at least {costs.least_s:.2g} s on an H100 at its stated peak (not measured)"
        + (f"; {images} images at least {duration(images * costs.least_s)}" if images > 1 else ""),
        *(f"  licence {licence}: {', '.join(models)}" for licence, models in licences.items()),
    ]
    if costs.gated:
        lines.append(f"  gated: {_gate(costs)}")
    return lines


def state(name: str, device: str) -> str:
    """Return, in one line, whether a recipe from a hub works on this machine, or what it wants first."""
    recipe = recipes.resolve(name)
    costs = price(recipe.image)
    if why := too_large(recipe, device):
        return why
    if costs is not None and not all(_here(model, commit) for model, commit in models_of([name])):
        gate = f"; {_gate(costs)}" if costs.gated else ""
        return f"its weights ({disk(costs.download)}) are not all here: dst models fetch {name}{gate}"
    return recipes.lacking(name) or "works here"


def too_large(recipe: Recipe, device: str) -> str | None:
    """Return, in one line, that a device's memory cannot hold the weights of a recipe's generator; None where it can."""
    from models.device import memory, pick_device

    costs = price(recipe.image)
    if costs is None:
        return None
    found = pick_device(device)
    if (there := memory(found)) >= costs.weights:
        return None
    return (
        f"its weights alone take {disk(costs.weights)} of memory, and {found} has {disk(there)}; take a smaller one "
        "(dst models list), or another device (DST_DEVICE)"
    )


def _gate(costs: Price) -> str:
    pages = " and ".join(f"https://huggingface.co/{model}" for model in costs.gated)
    return f"accept the terms at {pages}, then log in with: hf auth login (or set HF_TOKEN)"


def _size(recipe: Recipe, costs: Price) -> str:
    image: Any = recipe.image
    away = [
        model if commit == weights.MAIN else f"{model}@{commit}" for model, commit in image.models if not _here(model, commit)
    ]
    size = f"{disk(costs.download)} of weights"
    return (
        f"{size}, to download: dst models fetch {recipe.name if recipe.name in FROM_HUB else ' '.join(away)}"
        if away
        else f"{size}, here"
    )


def _pinned(model: str, commit: str) -> str:
    found = weights.revision(model, commit)
    return "not fetched yet" if found == weights.MAIN else found[:12]


def _here(model: str, commit: str) -> bool:
    return weights.cached(model, weights.revision(model, commit))


def _row(name: str, recipe: Recipe) -> dict[str, Any]:
    costs = price(recipe.image)
    assert costs is not None, f"models/image/known.py does not know every model of {name}"
    here = [_here(model, commit) for model, commit in models_of([name])]
    image: Any = recipe.image
    return {
        "recipe": name,
        "here": "yes" if all(here) else "partly" if any(here) else "no",
        "download": disk(costs.download),
        "weights in GPU": disk(costs.weights),
        "TFLOP an image": f"{costs.tflop:.0f}",
        "H100 at least": f"{costs.least_s:.2g} s",
        "pixels": image.resolution,
        "steps": image.steps,
        "gated": "yes" if costs.gated else "no",
        "licence": ", ".join(dict.fromkeys(costs.licences.values())),
    }
