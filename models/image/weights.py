"""Which weights a model's name stands for, and what pins them.

Enters: `embedded`, a folder or a hub id, with a revision where one is known. Leaves: the folder, and the revision that is hashed
into keys: a commit of the hub, or the digest of a folder's files.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

EMBEDDED = "embedded"
"""The model name that stands for the weights which come with the project."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]*/[\w.\-]+")
_WEIGHTS = Path(__file__).parents[1] / "weights"


class UnknownModel(ValueError):
    """A model that is neither a folder nor a hub id with a commit. One line says what to do."""


def folder_of(model: str) -> Path | None:
    """Return the folder that `model` names, or None for a hub id. Raises UnknownModel for what is neither."""
    if model == EMBEDDED:
        folder = _WEIGHTS / EMBEDDED
        if not folder.is_dir():
            raise UnknownModel(f"the embedded generator's weights are missing in {folder}; make them with: dst train")
        return folder
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if _HUB_ID.fullmatch(model):
        return None
    raise UnknownModel(f"no model {model!r}: there is no such folder, and it is no hub id (owner/name)")


def revision(model: str, given: str = "") -> str:
    """Return what pins `model`: `sha256:` and the digest of a folder's files, or the commit given for a hub id.

    Raises UnknownModel when a hub id comes without a commit, because a branch means other weights tomorrow, and when a folder
    is not the one whose digest was given.
    """
    folder = folder_of(model)
    if folder is None:
        if not _COMMIT.fullmatch(given):
            raise UnknownModel(f"{model} needs its revision as a commit of 40 hex digits, not {given!r}; its hub page lists them")
        return given
    found = f"sha256:{_digest(folder)}"
    if given and given != found:
        raise UnknownModel(f"{model} holds other weights than the recipe asks for: {found[:19]}..., asked for {given[:19]}...")
    return found


def source(model: str, commit: str) -> dict[str, Any]:
    """Return the arguments with which diffusers' `from_pretrained` finds a model; a folder is never looked up on the hub."""
    folder = folder_of(model)
    if folder is not None:
        return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}
    return {"pretrained_model_name_or_path": model, "revision": revision(model, commit)}


def _digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json", ".txt") and path.is_file())
    if not files:
        raise UnknownModel(f"{folder} holds no model: expected model_index.json and safetensors files")
    lines = [[path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()] for path in files]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()
