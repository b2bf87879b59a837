"""What comes in kinds: controls, captioners, generators, judges and rules, each behind one door.

Enters: a spec class for each kind, light to import, whose field `kind` names it and whose `implementation` says where the code
lies that obeys it. Leaves: specs, read from what a recipe says, and the code of a spec, imported when it is asked for. A new kind
is one new module and one line in the table of its door.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import operator
import pkgutil
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_type_hints


class BadSpec(ValueError):
    """What was said is no spec: one line with the field, what is wrong with it and, after a slip of the pen, what was meant."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """Base of every spec: a frozen dataclass whose fields are hashed into keys."""

    # Read by pydantic: a field that does not exist is an error, not ignored.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class KindSpec(Spec):
    """Base of the specs that are told apart by a field `kind`, a Literal of the kind's name that is also its default."""

    implementation: ClassVar[str]
    """Where the code lies that obeys the spec, `package.module:Class`; it is called with the spec."""
    kind: str


S = TypeVar("S", bound=KindSpec)


class Kinds(Generic[S]):
    """The kinds of one thing."""

    def __init__(self, thing: str, specs: Iterable[type[S]]) -> None:
        """thing: what an error calls it, such as `control`."""
        self.thing = thing
        self._specs: dict[str, type[S]] = {}
        for spec in specs:
            self.register(spec)

    def register(self, spec: type[S]) -> type[S]:
        """Add a kind. Raises ValueError where another one has its name."""
        if self._specs.setdefault(kind_of(spec), spec) is not spec:
            raise ValueError(f"there are two kinds of {self.thing} called {kind_of(spec)!r}")
        return spec

    def unregister(self, spec: type[S]) -> None:
        """Take a kind away again."""
        del self._specs[kind_of(spec)]

    @property
    def names(self) -> list[str]:
        """The kinds there are."""
        return list(self._specs)

    def of(self, kind: str) -> type[S]:
        """Return the spec class of a kind. Raises BadSpec."""
        if kind not in self._specs:
            raise BadSpec(f"no {self.thing} of kind {kind!r}{meant(kind, self.names)}; there are: {', '.join(self.names)}")
        return self._specs[kind]

    def read(self, said: Mapping[str, Any], where: str) -> S:
        """Return the spec that `said` (JSON types, `kind` among them) spells out. Raises BadSpec, which begins with `where`."""
        try:
            self.of(str(said.get("kind")))
        except BadSpec as error:
            raise BadSpec(f"{where}: {error}") from None
        spec: S = read(_any_of(tuple(self._specs.values())), said, where)
        return spec

    def load(self, spec: S, **runtime: Any) -> Any:
        """Return the code that obeys a spec; `runtime`: what changes speed or place only."""
        return pkgutil.resolve_name(spec.implementation)(spec, **runtime)


def kind_of(spec: type[KindSpec]) -> str:
    """Return the name of a spec class's kind."""
    return str(next(field.default for field in dataclasses.fields(spec) if field.name == "kind"))


@functools.cache
def _any_of(specs: tuple[type[KindSpec], ...]) -> Any:
    """Return what stands for one of these spec classes, told apart by their kind."""
    from pydantic import Field

    union: Any = functools.reduce(operator.or_, specs)
    return Annotated[union, Field(discriminator="kind")] if len(specs) > 1 else union


@functools.cache
def _reader(spec: Any) -> Any:
    """Return what reads a spec class or a union of them. It takes 20 ms to make, and forms read every recipe again and again."""
    from pydantic import TypeAdapter

    return TypeAdapter(spec)


def read(spec: Any, said: Mapping[str, Any], where: str) -> Any:
    """Return the spec class (or union of them) `spec` filled with what `said` spells out in JSON types; the rest are defaults.

    Types are not bent: "5" is no number, 0.5 no whole one. Raises BadSpec, in one line that begins with `where`.
    """
    from pydantic import ValidationError

    try:
        return _reader(spec).validate_json(json.dumps(said), strict=True)
    except ValidationError as error:
        raise BadSpec(_in_words(spec, error.errors()[0], where)) from None


_SAID = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dataclass_type": "a table of fields",
    "dict_type": "a table of fields",
}
"""pydantic's name of an error -> what the value should be."""


def _in_words(spec: Any, error: Any, where: str) -> str:
    """Return pydantic's first error as a person reads it."""
    kinds = [one for one in get_args(getattr(spec, "__origin__", spec)) if isinstance(one, type) and issubclass(one, KindSpec)]
    union = {kind_of(one): one for one in kinds}
    path = [str(step) for step in error["loc"]]
    if path and path[0] in union:
        spec, path = union[path[0]], path[1:]
    name, value = ".".join([where, *path]), error.get("input")
    if error["type"] == "unexpected_keyword_argument":
        known = _fields(spec, path[:-1])
        table = ".".join([where, *path[:-1]])
        return f'{table} has no field "{path[-1]}"{meant(path[-1], known)}; it has: {", ".join(known)}'
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return f"{name} is not said, and has no default"
    if error["type"] in _SAID:
        return f"{name} is {_SAID[error['type']]}, not {value!r}"
    return f"{name}: {error['msg'][:1].lower()}{error['msg'][1:]}, not {value!r}"


def _fields(spec: Any, path: list[str]) -> list[str]:
    for step in path:
        # A step into a list of specs is its number: its type says of what.
        spec = get_type_hints(spec)[step] if dataclasses.is_dataclass(spec) else get_args(spec)[0]
    return [field.name for field in dataclasses.fields(spec)]


def as_table(value: Any, where: str) -> Mapping[str, Any]:
    """Return what was said where a table of fields belongs. Raises BadSpec for anything else."""
    if not isinstance(value, Mapping):
        raise BadSpec(f"{where} is a table of fields, not {value!r}")
    return value


def meant(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "..."?` for a slip of the pen, or nothing."""
    # Above difflib's own 0.6, with which "edge" would be a slip of "render".
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.65)
    return f'; did you mean "{close[0]}"?' if close else ""
