"""How this project runs Prefect: set before the first import of prefect.

Without a server of the user's and without `dst serve`, one is started for the run and kept in the home folder. What the user
has set stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from storage.folders import try_folder
from storage.settings import Settings
from tasks.plan.place import Place
from tasks.plan.ready import ready

FOR_RUNS = {
    # Code of the working folder's owner is not ours, whatever it is called.
    "PYTHONSAFEPATH": "1",
    # Results are references to artifacts: JSON, never pickle, which would run code when it is read.
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
    # Our own lines go into the run's log in the UI.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "dst",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Stages also run outside of any flow (`dst reproduce`); their lines then belong to the terminal alone.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # Model libraries talk about themselves between our progress lines.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
}
"""What every run needs, wherever it is started; the work pool hands it to its runs."""


EVENTS_KEPT_S = 86_400.0
"""How long Prefect's events are kept."""
SIGNS_OF_LIFE = (
    "prefect.flow-run.heartbeat",
    "prefect.artifact.updated",
    "prefect.concurrency-limit.acquired",
    "prefect.concurrency-limit.released",
)
"""Events of runs that go on, most of all events: kept for an hour."""
EMPTY_BYTES = 16 * 2**20
"""From so much empty space on, a database file is made smaller before a server opens it."""


def prepare(settings: Settings) -> None:
    """Set Prefect's environment. Must run before `import prefect`.

    Raises, in one line, where nothing can be made (tasks.plan.ready), or where Prefect's own database cannot be: a server of its
    own would not start, be started again and again, and be waited for in silence.
    """
    ready(Place.of(settings))
    home = settings.root / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    ours = {
        **FOR_RUNS,
        "PREFECT_HOME": str(home),
        # Results are references to artifacts, so they live and move with the store.
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "results"),
        # Two slow cores need more than the 20 s that Prefect allows its own server to start.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_CLI_PROMPT": "false",
        # Slots of killed runs are found again after the server was restarted (in memory, they would stay taken for ever).
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # Prefect's own lines stay in the run's log: what ends a run ends the command with one line or a traceback, and need not
        # be said twice.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }
    ours |= _history(settings)
    if settings.prefect_api_url:
        ours["PREFECT_API_URL"] = settings.prefect_api_url
    elif (there := served(settings)) and (not there["auth"] or settings.api_auth.get_secret_value()):
        # One server for one home: what is started in a terminal shows in the UI of `dst serve`.
        ours |= {"PREFECT_API_URL": there["api"], "DST_FILES_URL": there["files"]}
    for name, value in ours.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("PREFECT_API_URL"):
        _try_database(Path(os.environ["PREFECT_HOME"]).expanduser())


def _history(settings: Settings) -> dict[str, str]:
    """Return how long a server that is started here keeps what: it looks when it starts, and every hour."""
    kept_s = settings.history_days * 86_400
    return {
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs,orphans",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": f"{kept_s:.0f}",
        # Every change of a state and every sign of life is an event, five times the size of the runs themselves. They are for
        # automations and for who looks on, and the state itself stays.
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"PT{min(kept_s, EVENTS_KEPT_S):.0f}S",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES": json.dumps(dict.fromkeys(SIGNS_OF_LIFE, 3600)),
        # Runs that are planned ahead: the next few are enough to be seen.
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT10M",
    }


def _try_database(home: Path) -> None:
    """Raise ValueError or an error of storage.folders where a server that is started for a run would have no database."""
    try_folder(home)
    path = home / "prefect.db"
    if not path.exists() or os.environ.get("PREFECT_API_DATABASE_CONNECTION_URL"):
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=1.0)) as database:
            database.execute("SELECT count(*) FROM sqlite_master")
            (empty,) = database.execute(
                "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size"
            ).fetchone()
            if empty > EMPTY_BYTES:
                database.execute("VACUUM")
    except sqlite3.OperationalError as error:
        # Busy is well; another process has a server there.
        if "locked" not in str(error):
            raise ValueError(f"Prefect's database {path} cannot be opened: {error}") from None
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f"Prefect's database {path} is damaged ({error}); move it away: only its history of runs is lost"
        ) from None


def own_server(settings: Settings) -> None:
    """Start the server that Prefect starts for a command where no other is named: now, and away from the working folder.

    Its migrations put the folder that it runs in before everything it imports afterwards, and code of that folder's owner would
    be taken for ours. Started once, it is the one that Prefect takes.
    """
    from prefect.settings import get_current_settings

    prefect = get_current_settings()
    if prefect.api.url or not prefect.server.ephemeral.enabled:
        return
    from prefect.server.api.server import SubprocessASGIServer

    with contextlib.chdir(settings.root / "prefect"):
        SubprocessASGIServer().start()


def note_path(settings: Settings) -> Path:
    """Return the file that `dst serve` holds locked as long as it serves this home."""
    return settings.root / "prefect" / "served.json"


def served(settings: Settings) -> dict[str, Any] | None:
    """Return where `dst serve` runs for this home (api, files, auth), or None where it does not."""
    try:
        with open(note_path(settings), encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read()
                return dict(json.loads(text)) if text else None
    except FileNotFoundError:
        pass
    return None


def server(settings: Settings) -> str:
    """Return the API of the standing server there is to talk to, "" for none. Does not import Prefect, nor ask the server."""
    named = settings.prefect_api_url or os.environ.get("PREFECT_API_URL", "")
    return named or str((served(settings) or {}).get("api", ""))
