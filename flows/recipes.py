"""Recipes: everything that determines what a run makes, by name.

Enters: a name and, where wanted, a TOML file with overrides. Leaves: one complete, checked Recipe. A function a recipe; what
is not said there is the spec's default, written down beside the code that obeys it.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.hub_recipes import FROM_HUB
from models.caption.grammar import GrammarSpec
from models.control.canny import CannySpec
from models.image.controlnet import ControlNetSpec
from models.image.finished import FinishedRenderSpec
from models.kinds import BadSpec, meant
from models.render.spec import RenderSpec, ViewpointSpec
from models.verdict.ensemble import EnsembleSpec
from models.verdict.fidelity import FidelitySpec
from models.verdict.kcf import KcfSpec
from models.verdict.pose import PoseSpec
from models.verdict.quality import QualitySpec
from models.verdict.rules import AtLeastSpec
from models.verdict.shape import ShapeSpec
from models.verdict.spec import CONTROL_LOST, VerdictSpec
from models.verdict.text import TextSpec
from models.verdict.wish import WishSpec
from storage.keys import plain
from storage.settings import Settings
from tasks.plan.place import Place
from tasks.plan.recipe import Recipe, read

OBEYED = AtLeastSpec(score="fidelity", threshold=0.4, reason=CONTROL_LOST)
"""How well the embedded generator obeys its lines: of 672 images that it painted, none was below 0.4 (docs/filters.md)."""


class UnknownRecipe(BadSpec):
    """No recipe has this name, or its file cannot be read."""


NEAR = dataclasses.replace(ViewpointSpec.official(3), distance_sd=0.1, distance_range=(-0.1, 0.2))
"""The official strategy for cars, framed as product photographs are: the longest side as seen fills 60 to 85 % of the frame in
two thirds of the views, and none is cropped. The official spread of distances shows many objects 40 pixels wide at 128."""


def embedded() -> Recipe:
    """128x128 with the generator that comes with the project: no internet, no GPU. Every judge is heard."""
    return dataclasses.replace(
        embedded_quick(),
        name="embedded",
        verdict=VerdictSpec(
            judges={
                "ensemble": EnsembleSpec(),
                "fidelity": FidelitySpec(),
                "kcf": KcfSpec(),
                "pose": PoseSpec(),
                "quality": QualitySpec(),
                "shape": ShapeSpec(),
                "text": TextSpec(),
            },
            rules={"wish": WishSpec(lose=0.05)},
        ),
    )


def embedded_quick() -> Recipe:
    """As embedded, with the judges that learn nothing from the CAD models first: a minute less for each class."""
    return Recipe(
        name="embedded-quick",
        render=RenderSpec(resolution=128, samples=16, viewpoint=NEAR),
        controls={"canny": CannySpec()},
        caption=GrammarSpec(),
        image=ControlNetSpec(),
        verdict=VerdictSpec(rules={**VerdictSpec().rules, "control": OBEYED}),
    )


def embedded_8_steps() -> Recipe:
    """As embedded in 8 steps instead of 20, less than half the time: the model card says what edges and pose lose."""
    recipe = embedded()
    return dataclasses.replace(
        recipe, name="embedded-8-steps", image=dataclasses.replace(ControlNetSpec(), scheduler="dpmpp_2m", steps=8)
    )


def render_world() -> Recipe:
    """Finished renders at 128x128: materials and backgrounds, no diffusion; the renders and controls are those of embedded."""
    return dataclasses.replace(embedded_quick(), name="render-world", image=FinishedRenderSpec(resolution=128, supersampling=3))


RECIPES = {
    "embedded": embedded,
    "embedded-quick": embedded_quick,
    "embedded-8-steps": embedded_8_steps,
    "render-world": render_world,
    **FROM_HUB,
}


def resolve(name: str, overrides: Mapping[str, Any] | None = None, through: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe called `name` with overrides applied (nested as its specs are). Raises BadSpec.

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
        raise UnknownRecipe(f'no such recipe "{name}"{meant(name, names())}; there are: {", ".join(names())}')
    return changed(recipe, overrides or {})


def changed(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """Return a recipe with overrides applied, under a name of its own unless they say one. Raises BadSpec."""
    tables = _changed(plain(recipe), overrides, OWN_TABLES)
    if all(isinstance(tables[name], dict) for name in ("render", "image")):
        # What another kind of generator makes is as large as the renders, unless somebody says otherwise.
        tables["image"] = {"resolution": tables["render"]["resolution"], **tables["image"]}
    other = read(tables)
    if other == recipe or "name" in overrides:
        return other
    # A changed recipe needs a name of its own: cohorts and rows are told apart by it.
    return dataclasses.replace(other, name=f"{recipe.name}+")


def recorded(specs: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a run's row spells out (`runs.recipe_specs`). Raises BadSpec where this code knows no such."""
    return read(specs)


def as_overrides(specs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's recorded recipe as the arguments of `resolve` that give exactly it, name and all."""
    name = str(specs["name"])
    base = name if name in RECIPES else next(iter(RECIPES))
    return {"name": base, "overrides": _exactly(specs, plain(RECIPES[base]()))}


def names() -> list[str]:
    """Return the recipes there are: ours, then those of the user."""
    return [*RECIPES, *saved()]


def offered() -> list[str]:
    """Return the recipes that can be made on this machine now: what a form offers."""
    return [name for name in names() if lacking(name) is None]


def lacking(name: str) -> str | None:
    """Return, in one line, what a recipe lacks on this machine and what to do; None where it lacks nothing."""
    try:
        recipe = resolve(name)
        return recipe.caption.lacking(Place.of(Settings()).means) or recipe.image.lacking() or recipe.verdict.lacking()
    except ValueError as error:
        return str(error)


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
        raise UnknownRecipe(f"no such file: {path}; --overrides takes a TOML file such as: [image] steps = 30") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnknownRecipe(f"{path} is not TOML: {error}") from error


OWN_TABLES = ("controls", "judges", "rules")
"""Tables whose entries are specs of their own, by name: more of them may be said, and `false` takes one out."""


def _changed(table: Mapping[str, Any], overrides: Mapping[str, Any], own_tables: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a recipe's tables with overrides laid over them; a table of another `kind` begins with that kind's defaults."""
    if overrides.get("kind", table.get("kind")) != table.get("kind"):
        return dict(overrides)
    changed = dict(table)
    for name, value in overrides.items():
        there = table.get(name)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            changed[name] = _of_specs(there, value) if name in own_tables else _changed(there, value, own_tables)
        else:
            changed[name] = value
    return changed


def _exactly(specs: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides that make `specs` of `base`: what they spell out, and `false` for what only the base has."""
    overrides = dict(specs)
    for name, value in specs.items():
        there = base.get(name)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            taken_out = dict.fromkeys(there.keys() - value.keys(), False)
            overrides[name] = taken_out | dict(value) if name in OWN_TABLES else _exactly(value, there)
    return overrides


def _of_specs(table: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table of specs by name with some changed, more of them (of the kind they are named after) or fewer."""
    changed = dict(table)
    for name, value in overrides.items():
        if value is False:
            changed.pop(name, None)
        elif isinstance(value, Mapping):
            changed[name] = _changed(table[name], value) if name in table else {"kind": name, **value}
        else:
            changed[name] = value
    return changed
