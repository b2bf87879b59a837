"""Forms: what a flow's parameter says of itself in the Prefect UI.

Enters: a parameter's annotation. Leaves: its description and its choices in the form. Prefect writes title and description of
its own over pydantic's `Field(description=...)`, so they are said by annotations that come in when the form is made:

    samples: Annotated[int, Field(ge=1), Said("Samples of each class")] = 200
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

from storage.catalog.catalog import Catalog
from storage.settings import Settings


@dataclass(frozen=True)
class Said:
    """The line below a form's field."""

    text: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "description": self.text}


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


ClassName = Annotated[str, OneOf(classes)]
"""A registered class."""
