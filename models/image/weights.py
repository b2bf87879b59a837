"""Which weights a model's name stands for, and what pins them.

Enters: `embedded`, a folder or a hub id, with a revision where one is known. Leaves: the folder, and the revision that is hashed
into keys: a commit of the hub, or the digest of a folder's files.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.image.refused import in_words

EMBEDDED = "embedded"
"""The model name that stands for the weights which come with the project."""

MAIN = "main"
"""In the place of a commit: the newest one of the hub that was fetched to this machine."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]*/[\w.\-]+")
NOT_LOADED = {"safety_checker", "feature_extractor"}
"""Parts of a pipeline that images are painted without."""
_HUB_ANSWERS_WITHIN_S, _ASK_AGAIN_S = 3.0, 60.0
_AWAY: dict[tuple[str, int], str] = {}
"""(Hub, minute) in which it was not reached -> why: it is not waited for again for every model."""
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

    Given MAIN, that is the commit which was fetched last; MAIN itself where none was: nothing can be painted with it.

    Raises UnknownModel when a hub id comes without a commit, because a branch means other weights tomorrow, and when a folder
    is not the one whose digest was given.
    """
    folder = folder_of(model)
    if folder is None:
        if given == MAIN:
            return fetched(model) or MAIN
        if not _COMMIT.fullmatch(given):
            raise UnknownModel(f"{model} needs its revision as a commit of 40 hex digits, not {given!r}; its hub page lists them")
        return given
    found = f"sha256:{_digest(folder)}"
    if given and given != found:
        raise UnknownModel(f"{model} holds other weights than the recipe asks for: {found[:19]}..., asked for {given[:19]}...")
    return found


def fetched(model: str) -> str | None:
    """Return the commit of a hub's model that was fetched last to this machine as its newest, or None."""
    try:
        commit = (cache_of(model) / "refs" / MAIN).read_text().strip()
    except OSError:
        return None
    return commit if _COMMIT.fullmatch(commit) else None


def cache_of(model: str) -> Path:
    """Return the folder in which the hub's client keeps a model."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE, f"models--{model.replace('/', '--')}")


def snapshot_of(model: str, commit: str) -> Path:
    """Return the folder in which the hub's client keeps a model's files of one commit, whether it has them or not."""
    return cache_of(model) / "snapshots" / commit


def source(model: str, commit: str) -> dict[str, Any]:
    """Return the arguments with which diffusers' `from_pretrained` finds a model; a folder is never looked up on the hub."""
    folder = folder_of(model)
    if folder is not None:
        return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}
    found = revision(model, commit)
    # What is here is looked up nowhere else.
    return {"pretrained_model_name_or_path": model, "revision": found, "local_files_only": cached(model, found)}


def lacking(models: Sequence[tuple[str, str]], table: str = "[image]") -> str | None:
    """Return, in one line, which of (model, commit) cannot be loaded on this machine now and what to do; None where all can.

    table: where a recipe names them. The hub is asked of what was not loaded before, for a few seconds at most and once a minute.
    """
    from huggingface_hub import constants

    away: dict[tuple[str, str], str] = {}
    for model, commit in models:
        try:
            if folder_of(model) is None and not cached(model, pinned := revision(model, commit)):
                # Before its newest commit was fetched nothing can be painted anyway: it is asked less often.
                every = _ASK_AGAIN_S * (10 if pinned == MAIN else 1)
                why = _hub_says(model, commit, int(time.monotonic() // every))
                # A name alone is no revision: what is painted must be pinned to something that is here.
                why = why or ("they were not fetched yet" if pinned == MAIN else "")
                away |= {(model, commit): why} if why else {}
        except UnknownModel as error:
            return str(error)
    if not away:
        return None
    names, why = " and ".join(model for model, _ in away), " and ".join(dict.fromkeys(away.values()))
    fetch = " ".join(model if commit == MAIN else f"{model}@{commit}" for model, commit in away)
    return (
        f"the weights of {names} are not in {constants.HF_HUB_CACHE}, and {why}; where there is internet: dst models fetch "
        f'{fetch}, and copy that folder here, or name folders that hold them in the recipe: {table} model = "FOLDER"'
    )


def cached(model: str, commit: str) -> bool:
    """Say whether all that diffusers loads of a hub's model is among what was loaded before."""
    folder = snapshot_of(model, commit)
    try:
        index = json.loads((folder / "model_index.json").read_text())
    except (OSError, ValueError):
        # A network alone, such as a ControlNet.
        return _whole(folder)
    parts = {name for name, kind in index.items() if isinstance(kind, list) and kind[0]} - NOT_LOADED
    networks = {name for name in parts if not name.startswith(("tokenizer", "scheduler"))}
    return all((folder / name).is_dir() for name in parts) and all(_whole(folder / name) for name in networks)


def conditioning_channels(model: str, commit: str, part: str) -> int | None:
    """Return how many channels the ControlNet in a model's subfolder `part` reads; None where its files do not say so here."""
    try:
        folder = folder_of(model) or snapshot_of(model, commit)
        said = json.loads((folder / part / "config.json").read_text()).get("conditioning_channels")
    except (UnknownModel, OSError, ValueError):
        return None
    return said if isinstance(said, int) else None


def _whole(folder: Path) -> bool:
    # A file of the cache is a link to what it holds, which may be gone; of weights in several files all must be there.
    named = [json.loads(path.read_text())["weight_map"].values() for path in folder.glob("*.safetensors.index.json")]
    there = any(path.exists() for path in folder.glob("*.safetensors"))
    return (folder / "config.json").exists() and there and all((folder / name).exists() for names in named for name in names)


@functools.lru_cache(maxsize=64)
def _hub_says(model: str, commit: str, moment: int) -> str:
    """Return why a hub does not give a model, "" where it does. moment: the answer holds as long as it is the same."""
    from httpx2 import HTTPError
    from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    asked = (constants.ENDPOINT, int(time.monotonic() // _ASK_AGAIN_S))
    if asked in _AWAY:
        return _AWAY[asked]
    try:
        info = HfApi(endpoint=constants.ENDPOINT).model_info(model, revision=commit, timeout=_HUB_ANSWERS_WITHIN_S)
        if info.gated:
            # What a gated model is called is told to everybody, its files are not.
            name = next((one.rfilename for one in info.siblings or [] if one.rfilename.endswith(".json")), "config.json")
            url = hf_hub_url(model, name, revision=commit, endpoint=constants.ENDPOINT)
            get_hf_file_metadata(url, timeout=_HUB_ANSWERS_WITHIN_S)
    except HfHubHTTPError as error:
        return in_words(model, error)
    except (HTTPError, OSError, OfflineModeIsEnabled) as error:
        _AWAY.clear()
        _AWAY[asked] = in_words(model, error)
        return _AWAY[asked]
    return ""


def _digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json", ".txt") and path.is_file())
    if not files:
        raise UnknownModel(f"{folder} holds no model: expected model_index.json and safetensors files")
    lines = [[path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()] for path in files]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()
