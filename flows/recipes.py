"""Recipes: everything that determines what a run makes, by name.

Enters: a name and, where wanted, a TOML file with overrides. Leaves: one complete, checked Recipe. A function a recipe; what
is not said there is the spec's default, written down beside the code that obeys it.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.caption.imported import ImportedCaptionSpec
from models.caption.spec import CaptionSpec
from models.edge import EdgeSpec
from models.image.spec import ImageSpec
from models.image.spec import paper_sd15 as paper_generator
from models.render.spec import RenderSpec, ViewpointSpec
from models.verdict.spec import VerdictSpec
from models.world.spec import FINISHED, FinishedSpec
from storage.settings import Settings
from tasks.recipe import Recipe


class UnknownRecipe(ValueError):
    """No recipe has this name, or an override names no field of it."""


NEAR = dataclasses.replace(ViewpointSpec.official(3), distance_sd=0.1, distance_range=(-0.1, 0.2))
"""The official strategy for cars, framed as product photographs are: the longest side as seen fills 60 to 85 % of the frame in
two thirds of the views, and none is cropped. The official spread of distances shows many objects 40 pixels wide at 128."""


def embedded() -> Recipe:
    """128x128 with the generator that comes with the project: no internet, no GPU."""
    return Recipe(
        name="embedded",
        render=RenderSpec(resolution=128, samples=16, viewpoint=NEAR),
        edge=EdgeSpec(source="canny"),
        caption=CaptionSpec(),
        image=ImageSpec(),
        verdict=VerdictSpec(),
    )


def paper_sd15() -> Recipe:
    """The paper's setting: Stable Diffusion 1.5 with ControlNet canny at 512x512 (3D-DST, appendix; wants a GPU and a hub)."""
    return Recipe(
        name="paper-sd15",
        render=RenderSpec(resolution=512, viewpoint=ViewpointSpec.official(3)),
        edge=EdgeSpec(source="canny"),
        caption=CaptionSpec(),
        image=paper_generator(),
        verdict=VerdictSpec(),
    )


def render_world() -> Recipe:
    """Finished renders at 128x128: materials and backgrounds, no diffusion; the same renders, edges and captions as embedded."""
    return dataclasses.replace(embedded(), name="render-world", image=FinishedSpec(resolution=128, supersampling=3))


RECIPES = {"embedded": embedded, "paper-sd15": paper_sd15, "render-world": render_world}


def resolve(name: str, overrides: Mapping[str, Any] | None = None, through: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe called `name` with overrides applied (nested as its specs are). Raises UnknownRecipe.

    through: the user's own recipes that are based on this one, which it must not be based on in turn.
    """
    if name in RECIPES:
        recipe = RECIPES[name]()
    elif name in (own := saved()):
        said = read_overrides(own[name])
        base = said.pop("base", "embedded")
        if base in (*through, name) or not isinstance(base, str):
            raise UnknownRecipe(
                f"{own[name]}: base is {base!r}, which leads to no recipe of ours; they are: {', '.join(RECIPES)}"
            )
        recipe = resolve(base, said | {"name": name}, (*through, name))
    else:
        raise UnknownRecipe(f'no such recipe "{name}"{_meant(name, dict.fromkeys(names()))}; there are: {", ".join(names())}')
    changed = _replaced(recipe, overrides or {}, name)
    if changed == recipe or changed.name != name or "name" in (overrides or {}):
        return changed
    # A changed recipe needs a name of its own: cohorts and rows are told apart by it.
    return dataclasses.replace(changed, name=f"{name}+")


def recorded(specs: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a run's row spells out (`runs.recipe_specs`). Raises UnknownRecipe where this code knows no such."""
    return resolve(**as_overrides(specs))


def as_overrides(specs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's recorded recipe as the arguments of `resolve` that give exactly it, name and all."""
    name = str(specs["name"])
    return {"name": name if name in RECIPES else next(iter(RECIPES)), "overrides": dict(specs)}


def names() -> list[str]:
    """Return the recipes there are: ours, then those of the user."""
    return [*RECIPES, *saved()]


def saved() -> dict[str, Path]:
    """Return the user's own recipes: TOML files in the home folder's `recipes`, overrides of their `base` (default: embedded)."""
    return {path.stem: path for path in sorted((Settings().root / "recipes").glob("*.toml")) if path.stem not in RECIPES}


def read_overrides(path: Path | None) -> dict[str, Any]:
    """Return the overrides in a TOML file (a table a spec, and `name` for what the changed recipe is called)."""
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UnknownRecipe(f"no such file: {path}; --overrides takes a TOML file such as: [render] resolution = 256") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnknownRecipe(f"{path} is not TOML: {error}") from error


_KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
"""What a TOML file may say for a field of a plain type; other fields are checked by their spec alone."""
_SAID = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}


def _replaced(spec: Any, overrides: Mapping[str, Any], where: str) -> Any:
    known = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    kinds = {field.name: str(field.type) for field in dataclasses.fields(spec)}
    changes: dict[str, Any] = {}
    for name, value in overrides.items():
        if name not in known:
            raise UnknownRecipe(f'recipe {where} has no field "{name}"{_meant(name, known)}; it has: {", ".join(known)}')
        current = known[name]
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise UnknownRecipe(f"{where}.{name} is a table of fields, not {value!r}")
            changes[name] = _replaced(_of_kind(current, value), value, f"{where}.{name}")
        elif type(value) not in _KINDS.get(kinds[name], (type(value),)):
            raise UnknownRecipe(f"{where}.{name} is {_SAID[kinds[name]]}, not {value!r}")
        elif isinstance(current, float) and type(value) is int:
            changes[name] = float(value)
        else:
            changes[name] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(spec, **changes)


def _of_kind(current: Any, wanted: Mapping[str, Any]) -> Any:
    """Return the spec that overrides speak about: captions can be written by the grammar, or imported; images painted by a
    generator, or finished renders."""
    if isinstance(current, CaptionSpec) and wanted.get("captioner") == "imported":
        return ImportedCaptionSpec(origin=str(wanted.get("origin", "")))
    if isinstance(current, ImageSpec) and wanted.get("model") == FINISHED:
        return FinishedSpec(resolution=current.resolution)
    if isinstance(current, FinishedSpec) and wanted.get("model", FINISHED) != FINISHED:
        return ImageSpec(resolution=current.resolution)
    return current


def _meant(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""
