"""Why a hub does not give a model, as a person reads it.

Enters: a hub id, and what the hub's client raised. Leaves: one line that says what is wrong and what to do.
"""

from __future__ import annotations


def in_words(model: str, error: BaseException) -> str:
    """Return, in one line, why the hub does not give a model, and what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub = constants.ENDPOINT
    log_in = "log in with: hf auth login (or set HF_TOKEN)"
    if isinstance(error, GatedRepoError):
        return f"{model} is gated: accept its terms at {hub}/{model}, then {log_in}"
    if isinstance(error, RevisionNotFoundError):
        return f"{model} has no such commit on {hub}; its hub page lists them"
    code = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    if isinstance(error, RepositoryNotFoundError):
        return f"{hub} has no model {model}, or it is private: look for a slip in its name, or {log_in}"
    if isinstance(error, EntryNotFoundError) and code:
        return f"{model} on {hub} lacks a file that its own list names; try again later"
    if code in (401, 403):
        return f"{hub} does not let you load {model} (HTTP {code}): {log_in}, with a token that may read it"
    if code:
        return f"{hub} answers HTTP {code} for {model}; try again later"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: nothing is asked of a hub"
    behind: BaseException = error
    while behind.__cause__ is not None:
        behind = behind.__cause__
    said = (str(behind).strip() or type(behind).__name__).splitlines()[0]
    return f"{hub} cannot be reached ({said})"
