"""What a hub has of a model, what of it is on this machine, and how the rest gets here.

Enters: a hub id with a commit, or MAIN for its newest one. Leaves: the files that are loaded with their sizes and digests, and
those files in the cache of the hub's own client, where diffusers and transformers find them without a network. What was loaded
before a download broke off is not loaded again; no file is taken whose digest is not the one that the hub states.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.image.refused import in_words
from models.image.weights import MAIN, NOT_LOADED, UnknownModel, cache_of, snapshot_of

_WEIGHTS = re.compile(r"(?:diffusion_pytorch_model|model)(?:-\d{5}-of-\d{5})?\.safetensors(?:\.index\.json)?")
"""Weights as they are loaded: none of their variants (fp16, non_ema), no pickles, no single files for other programs."""
_WORDS = (".json", ".txt", ".model", ".jinja")
_ANSWERS_WITHIN_S = 10.0
_LARGE = 1 << 20
"""Large files from so many bytes on are resumed; the hub's own client begins a file again in each process."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a model on the hub."""

    name: str
    """Its path in the model's repository."""
    size: int
    """Its bytes."""
    digest: str
    """sha256 of a large file (64 hex digits), git's id of a small one (40)."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a hub has of a model."""

    model: str
    """Its hub id."""
    asked: str
    """The commit that was asked for, or MAIN."""
    commit: str
    """The commit that it is."""
    licence: str
    """As the hub states it."""
    files: tuple[File, ...]
    """The files that are loaded."""

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def missing(self) -> tuple[File, ...]:
        """The files that are not on this machine."""
        return tuple(file for file in self.files if not (snapshot_of(self.model, self.commit) / file.name).exists())


class NotGiven(UnknownModel):
    """A hub that does not give a model. One line says why and what to do."""


def published(model: str, commit: str) -> Published:
    """Return what the hub has of a model. Raises NotGiven."""
    from huggingface_hub import HfApi, constants, hf_hub_download

    with asking(model):
        info = HfApi(endpoint=constants.ENDPOINT).model_info(
            model, revision=commit, files_metadata=True, timeout=_ANSWERS_WITHIN_S
        )
        found = str(info.sha)
        siblings = {one.rfilename: one for one in info.siblings or []}
        index: dict[str, Any] | None = None
        if "model_index.json" in siblings:
            path = hf_hub_download(model, "model_index.json", revision=found, endpoint=constants.ENDPOINT)
            index = json.loads(Path(path).read_text())
        licence = str(getattr(info.card_data, "license", None) or "none stated")
    files = [
        File(name=name, size=one.lfs.size if one.lfs else one.size or 0, digest=one.lfs.sha256 if one.lfs else one.blob_id or "")
        for name, one in siblings.items()
        if _loaded(name, index)
    ]
    if not any(file.name.endswith(".safetensors") for file in files):
        raise NotGiven(f"{model} has no safetensors at {found[:12]}; other weights are not loaded here, for they may run code")
    return Published(model=model, asked=commit, commit=found, licence=licence, files=tuple(files))


def fetch(what: Published, progress: Callable[[int], None]) -> None:
    """Load the files of a model that are missing or damaged into the hub's cache. Raises NotGiven; the same call then goes on.

    progress: called with the bytes that are here by now.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown, talk = not are_progress_bars_disabled(), logging.getLogger("huggingface_hub")
    level = talk.level
    disable_progress_bars()
    # What its client says of a line that broke and of trying again is said by us, once.
    talk.setLevel(logging.ERROR)
    done = 0
    try:
        for file in what.files:
            here = snapshot_of(what.model, what.commit) / file.name
            if here.exists() and not sound(here):
                here.resolve().unlink()
            with asking(what.model):
                if not here.exists() and len(file.digest) == 64 and file.size >= _LARGE:
                    _load(what, file, lambda bytes_here, before=done: progress(before + bytes_here))  # type: ignore[misc]
                hf_hub_download(what.model, file.name, revision=what.commit, endpoint=constants.ENDPOINT)
            done += file.size
            progress(done)
    finally:
        talk.setLevel(level)
        if shown:
            enable_progress_bars()
    if what.asked == MAIN:
        # Only now: what a recipe is pinned to is whole.
        ref = cache_of(what.model) / "refs" / MAIN
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(what.commit)


def sound(path: Path) -> bool | None:
    """Say whether a file of the cache is what its digest says; None where the cache does not state it."""
    blob = path.resolve()
    name, size = blob.name, blob.stat().st_size
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name):
        return None
    digest = hashlib.sha256() if len(name) == 64 else hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with blob.open("rb") as file:
        return hashlib.file_digest(file, lambda: digest).hexdigest() == name


def here(model: str, commit: str) -> list[Path]:
    """Return the files of a model that are on this machine."""
    return sorted(path for path in snapshot_of(model, commit).rglob("*") if path.is_file())


@contextlib.contextmanager
def asking(model: str) -> Iterator[None]:
    """Turn what the hub's client raises about a model into NotGiven."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except (HfHubHTTPError, HTTPError, OSError, OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        if isinstance(error, UnknownModel) or getattr(error, "errno", None):
            # A disk's error is no hub's.
            raise
        raise NotGiven(f"{in_words(model, error)}; what was loaded stays, and the same command goes on") from error


def _loaded(name: str, index: dict[str, Any] | None) -> bool:
    """Say whether a file is among those that are loaded. index: a pipeline's own, None for a network alone."""
    folder, _, file = name.rpartition("/")
    if index is None:
        if folder:
            return False
    elif name == "model_index.json":
        return True
    elif folder in NOT_LOADED or not (isinstance(part := index.get(folder), list) and part[0]):
        return False
    if ".safetensors" in file:
        return _WEIGHTS.fullmatch(file) is not None
    return file.endswith(_WORDS) and not file.endswith(".index.json")


def _load(what: Published, file: File, progress: Callable[[int], None]) -> None:
    """Load one large file to where the hub's client looks for it, behind what an earlier try left."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    blob = cache_of(what.model) / "blobs" / file.digest
    if blob.exists():
        return
    blob.parent.mkdir(parents=True, exist_ok=True)
    partial = blob.with_suffix(".dst-part")
    url = hf_hub_url(what.model, file.name, revision=what.commit, endpoint=constants.ENDPOINT)
    with _Told(partial, progress) as growing:
        at = growing.seek(0, os.SEEK_END)
        if at > file.size:
            at = growing.truncate(growing.seek(0))
        http_get(url, growing, resume_size=at, headers=build_hf_headers(), expected_size=file.size)  # type: ignore[arg-type]
    with partial.open("rb") as whole:
        found = hashlib.file_digest(whole, "sha256").hexdigest()
    if found != file.digest:
        partial.unlink()
        raise NotGiven(f"{file.name} of {what.model} came damaged from {constants.ENDPOINT}; the same command loads it again")
    partial.replace(blob)


class _Told(io.FileIO):
    """A file that says how long it is whenever it has grown."""

    def __init__(self, path: Path, progress: Callable[[int], None]) -> None:
        super().__init__(path, "r+b" if path.exists() else "w+b")
        self._progress = progress

    def write(self, data: Any, /) -> int:
        left = memoryview(data)
        while left:
            left = left[super().write(left) :]
        self._progress(self.tell())
        return len(data)
