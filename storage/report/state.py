"""How far every class is, as `dst status` and the state page say it: the same facts for a terminal and for a browser.

Enters: what flows.overview found in catalog, store and Prefect. Leaves: plain values, which travel to the page as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Standing = Literal["running", "fresh", "stale", "never run"]
"""running: a run is making it. fresh: another run would make nothing. stale: it would, and `why` says what."""


@dataclass(frozen=True, kw_only=True)
class StageCount:
    """How far a class is at one stage, in samples."""

    stage: str
    """cad, render, ..."""
    done: int
    """Samples that have it."""
    pending: int
    """Samples for which it is still to be made."""
    failed: int
    """Samples that failed here."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Samples of a class that failed alike."""

    stage: str
    """Where."""
    reason: str
    """A short name that reports count by."""
    samples: int
    """How many."""
    retry: str
    """The command that tries them again; empty where another recipe's run came after."""


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """The last run of a class under a recipe."""

    run_id: str
    """Its name in the catalog."""
    status: str
    """running, complete, invalid, ..., or crashed where its process is gone."""
    reason: str
    """Why it ended so."""
    started_at: str
    """UTC, ISO 8601."""
    finished_at: str
    """UTC, ISO 8601; empty while it runs."""
    report: str
    """Its report's file in the home folder; empty where none was written."""
    url: str
    """Its page in the Prefect UI; empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class ClassState:
    """How far a class is under one recipe."""

    class_name: str
    """The class."""
    recipe: str
    """Of its run; empty: nothing was run yet."""
    last: bool
    """Whether this is the recipe of the class's last run."""
    standing: Standing
    """What another run would do."""
    why: tuple[str, ...]
    """Why it is stale, each reason by itself."""
    cad_models: int
    """Usable ones."""
    rejected: int
    """Refused ones."""
    samples: int
    """What the last run was asked for."""
    made: int
    """Samples with an image."""
    kept: int
    """Images that the rules keep."""
    dropped: int
    """Images that they drop."""
    not_judged: int
    """Images that no rule could decide about."""
    failed: int
    """Samples that cannot be made."""
    pending: int
    """Samples with something still to be made."""
    kept_share: float | None
    """The yield: the share kept of all samples that were judged or failed; None before there are any."""
    stages: tuple[StageCount, ...]
    """Every stage, in order."""
    failures: tuple[Failed, ...]
    """What failed, the most frequent first."""
    run: LastRun | None
    """Its last run."""
    to_go_s: float | None
    """Seconds until the run that is going on is done, as far as that is known."""
    cost_s: float
    """Seconds of work that all its runs took."""
    cost_each_s: float | None
    """The same for one kept image."""


@dataclass(frozen=True, kw_only=True)
class Going:
    """A run that is going on."""

    run_id: str
    """Its name in the catalog."""
    kind: str
    """generate, preview, ..."""
    class_name: str
    """Its class."""
    recipe: str
    """Its recipe."""
    samples: int
    """What it was asked for."""
    since: str
    """UTC, ISO 8601."""
    heartbeat: str
    """When it was last heard of, or why it is taken for dead."""
    done: int | None
    """Images that are there; None where that is not counted."""
    to_go_s: float | None
    """Seconds until it is done, as far as that is known."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that ended."""

    run_id: str
    """Its name in the catalog."""
    kind: str
    """generate, preview, ..."""
    class_name: str
    """Its class."""
    recipe: str
    """Its recipe."""
    samples: int
    """What it was asked for."""
    status: str
    """complete, invalid, ..."""
    reason: str
    """Why it ended so."""
    finished_at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """A flow run that Prefect has scheduled or has running."""

    name: str
    """What it is called."""
    state: str
    """As Prefect says it."""
    when: str
    """When it started or is to start, UTC, ISO 8601; empty: not known."""
    flow_run: str
    """Its id."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything at one moment."""

    at: str
    """The moment, UTC, ISO 8601."""
    classes: tuple[ClassState, ...]
    """In order of class, the last recipe of each first."""
    going: tuple[Going, ...]
    """Runs that are going on."""
    scheduled: tuple[Scheduled, ...]
    """What Prefect has before it."""
    silence: str
    """Why Prefect does not say that, where it does not."""
    ended: tuple[Ended, ...]
    """The last runs, the newest first."""
    refused: int
    """CAD files that were refused."""
