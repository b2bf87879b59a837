"""Forms: what a flow's parameter says of itself in the Prefect UI.

Enters: a parameter's annotation. Leaves: its description and its choices in the form. Prefect writes title and description of
its own over pydantic's `Field(description=...)`, so they are said by annotations that come in when the form is made:

    samples: Annotated[int, Field(ge=1), Said("Samples of each class")] = 200
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from flows import recipes
from flows.runners import RunnerName
from storage.catalog.catalog import Catalog
from storage.settings import Settings


@dataclass(frozen=True)
class Said:
    """The line below a form's field; a function where it is that of the moment."""

    text: str | Callable[[], str]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "description": self.text if isinstance(self.text, str) else self.text()}


@dataclass(frozen=True)
class OneOf:
    """The choices of the moment. Where there are none the field stays free, and the run says what to do."""

    offered: Callable[[], Sequence[str]]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = list(self.offered())
        return {**handler(schema), **({"enum": found} if found else {})}


def classes() -> list[str]:
    """Return the classes with a CAD model that can be rendered; none before the first `dst cad add`."""
    settings = Settings()
    return Catalog(settings.catalog, settings.store).classes_to_run()


declared = threading.Event()
"""Set when all flows are declared (flows.deployments). Prefect asks for a form already when its flow is declared, in each run's
own process, where nobody sees it: what takes a look at the hub waits for this."""


def recipes_offered() -> list[str]:
    """Return the recipes that can be made on this machine now."""
    return recipes.offered() if declared.is_set() else []


def recipe_said() -> str:
    """Return what a form says of its recipe: what one is, and of those that it does not offer what they lack."""
    lacking = {name: recipes.lacking(name) for name in recipes.names()} if declared.is_set() else {}
    # The rest of such a line says what to do, at a length that a form has no room for, and what ends in brackets is a network's
    # word of the moment: the forms would be renewed whenever it says another.
    not_offered = [f"{name}, since {why.split('; ')[0].split(' (')[0]}" for name, why in lacking.items() if why]
    said = "What decides how pictures look: size, generator, viewpoints, filter"
    return f"{said}. Not offered now (dst doctor says what to do): {'; '.join(not_offered)}" if not_offered else said


def recipes_made() -> list[str]:
    """Return the recipes that a run was made under."""
    settings = Settings()
    return Catalog(settings.catalog, settings.store).recipes_run()


ClassName = Annotated[str, OneOf(classes)]
"""A registered class."""
ALL_CLASSES = "(all classes)"
"""A choice that no class is called."""
OneOrAll = Annotated[str, OneOf(lambda: [ALL_CLASSES, *classes()])]
"""A registered class, or all of them."""
RecipeName = Annotated[str, OneOf(recipes_offered), Said(recipe_said)]
"""A recipe that can be made on this machine now."""
Samples = Annotated[int, Field(ge=1, le=100_000), Said("Samples of a class, divided evenly over its CAD models")]
Steps = Annotated[int, Field(ge=0, le=200), Said("Denoising steps of the generator; 0: as the recipe says")]
ControlScale = Annotated[float, Field(ge=0, le=10), Said("How firmly the controls are obeyed; 0: as the recipe says")]

Runner = Annotated[
    RunnerName,
    Said("Where shards are made: local is the run's own process; others the cluster of DST_CLUSTER, or one started here"),
]
"""Where a run's shards are made."""


def changes(steps: int, control_scale: float) -> dict[str, Any]:
    """Return the overrides that a form's two knobs stand for."""
    said = {name: value for name, value in (("steps", steps), ("control_scale", control_scale)) if value}
    return {"image": said} if said else {}
