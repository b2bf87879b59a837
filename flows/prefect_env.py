"""How this project runs Prefect: set before the first import of prefect.

Without a server of the user's, one is started for the run and kept in the home folder. What the user has set stays.
"""

from __future__ import annotations

import os

from storage.settings import Settings


def prepare(settings: Settings) -> None:
    """Set Prefect's environment. Must run before `import prefect`."""
    home = settings.root / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    ours = {
        "PREFECT_HOME": str(home),
        # Results are references to artifacts, so they live and move with the store; JSON, never pickle.
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "results"),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        # Two slow cores need more than the 20 s that Prefect allows its own server to start.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_CLI_PROMPT": "false",
        # Our own lines go to the terminal and, as extra logger, into the run's log. Prefect's stay in the run's log: what ends a
        # run ends the command with one line or a traceback, and need not be said twice.
        "PREFECT_LOGGING_EXTRA_LOGGERS": "dst",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "DO_NOT_TRACK": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # Model libraries talk about themselves between our progress lines.
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "error",
    }
    if settings.prefect_api_url:
        ours["PREFECT_API_URL"] = settings.prefect_api_url
    for name, value in ours.items():
        os.environ.setdefault(name, value)
