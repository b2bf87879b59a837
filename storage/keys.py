"""Keys: the one place where things that determine an artifact become its name.

Enters: a stage, its VERSION, its spec and the keys of its inputs. Leaves: 64 hex digits. Two artifacts share a key exactly
when nothing that could change their bytes differs, so a key is at once file name, cache key and proof of origin.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any


class UnstableKeyError(TypeError):
    """A value has no spelling that is the same in every process (a set, a callable, NaN, an unknown object)."""


def plain(value: Any, where: str = "value") -> Any:
    """Return `value` as JSON types with one stable spelling.

    Dataclasses and mappings become dicts, tuples become lists, enums their value. Raises UnstableKeyError, naming the
    path of the offender, for everything whose spelling depends on the process or the machine.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Enum):
        return plain(value.value, where)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnstableKeyError(f"{where} is {value}: only finite numbers have a stable spelling")
        # 1.0 and 1 are the same setting to a person; -0.0 and 0.0 too.
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), f"{where}.{f.name}") for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise UnstableKeyError(f"{where} has names that are not strings")
        return {name: plain(item, f"{where}.{name}") for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise UnstableKeyError(f"{where} is a {type(value).__name__}, which has no stable spelling")


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted names, no spaces, UTF-8 letters as they are."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(data: bytes) -> str:
    """Return the sha256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def artifact_key(stage: str, version: int, spec: Any, inputs: Any) -> str:
    """Return the key of what `stage` makes from `inputs` under `spec`: 64 hex digits.

    `inputs` holds the keys of the artifacts that go in and the identity of what comes out, as nested JSON types.
    """
    return digest(canonical_json({"stage": stage, "version": version, "spec": spec, "inputs": inputs}).encode())
