"""What a readout was taught, as bytes: tensors, and facts that a person can read.

Enters: tensors by name and facts in JSON types. Leaves: one safetensors file with the facts in its header, the same bytes for the
same content. The facts say at least in `words` what was taught, and in `left_out` which CAD models taught nothing, and why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FACTS = "facts"
_LENGTH = 8


def pack(tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> bytes:
    """Return tensors and facts as one file."""
    from safetensors.numpy import save

    told = json.dumps(facts, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return bytes(save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, {_FACTS: told}))


def tensors_of(readout: bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file."""
    from safetensors.numpy import load

    return dict(load(readout))


def facts_of(readout: bytes) -> dict[str, Any]:
    """Return the facts of a file; {} where it has none."""
    length = int.from_bytes(readout[:_LENGTH], "little")
    told = json.loads(readout[_LENGTH : _LENGTH + length]).get("__metadata__", {}).get(_FACTS)
    return {} if told is None else dict(json.loads(told))
