"""Serve: the platform on this machine, for people who open a browser; and one more machine that makes runs of it.

Enters: settings and addresses. Leaves, until Ctrl-C: a Prefect server (or one that is there already), the deployments with
forms of the moment, a process worker that runs them (each run is a process of its own), and a read-only server for reports and
pictures; of `dst worker` just the worker. Nothing of it outlives the command.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import FrameType
from typing import IO, Any

import httpx
import psutil
from pydantic import SecretStr

from flows.live import Live, person
from flows.prefect_env import note_path, prepare, served
from storage.catalog.database import CatalogError
from storage.fileserver import LOCAL, FileServer
from storage.folders import NoRoomLeft
from storage.live import mount
from storage.settings import Settings

log = logging.getLogger("dst")

LOOK_EVERY_S = 5.0
"""How often the forms' choices are compared with the catalog, and the processes looked at."""
TIDY_EVERY_S = 60.0
"""How often scans that say nothing are taken out of the history."""
START_AT_MOST_S = 240.0
END_AT_MOST_S = 30.0
"""How long a run may take to the end of its step, and to write down what it made."""
CLOCKS_S = 60.0
"""By how much the clocks of a worker and of its server may differ: by it, runs are started."""


def serve(settings: Settings, host: str, port: int, files_port: int, runs: int) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises ValueError, in one line, for what a person can put right.

    runs: at the same time; 0: none are made here, but by workers elsewhere (`work`), each with a limit of its own.
    """
    api = (settings.prefect_api_url or os.environ.get("PREFECT_API_URL", "")).rstrip("/")
    auth = _auth(settings, host, joining=bool(api))
    prepare(settings)
    stop = _stop_on_signals()
    live = Live(settings)
    with _alone(settings) as note, _Children(settings) as children, _files(settings, live, host, files_port, auth) as files_url:
        _environment(settings, files_url, auth)
        if api:
            ui = _joined(api)
        else:
            port = port or _free_port(host)
            _refuse_taken(host, port)
            api, ui = f"http://{_named(host)}:{port}/api", f"http://{_named(host)}:{port}"
            # The address that the pages themselves ask, in the browser: Prefect would name its default port.
            os.environ.setdefault("PREFECT_SERVER_UI_API_URL", api)
            pages = [f"http://{f'[{name}]' if ':' in name else name}:{port}" for name in LOCAL]
            os.environ.setdefault("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", ",".join(pages))
            children.start("server", ["server", "start", "--host", host, "--port", str(port)])
            print(f"starting the Prefect server ... (its log: {children.log('server')})", flush=True)
        os.environ["PREFECT_API_URL"] = api
        _await_health(api, children, stop)
        if stop.is_set():
            return
        see_that_strangers_are_refused(api, own="server" in children)
        note({"api": api, "files": files_url, "auth": bool(auth)})
        _serve_runs(children, live, runs, ui, files_url, stop)
    print("ended; nothing of it runs on", flush=True)


def _serve_runs(children: _Children, live: Live, runs: int, ui: str, files_url: str, stop: threading.Event) -> None:
    """Register the deployments, start the worker, say where everything is, and renew forms and reports until asked to stop."""
    from prefect.exceptions import PrefectException

    from flows import automations, deployments, tidy

    offered = deployments.offered()
    names = deployments.register(runs)
    automations.ensure(Settings())
    if runs:
        # A scan has a place of its own beside the runs that people launch.
        children.start("worker", _worker(runs + 1))
    print(f"\n  Prefect UI    {ui}", flush=True)
    print(f"  reports       {files_url}/reports/index.html")
    print(f"  classes       {files_url}/live/state      how far each is, while runs go on")
    print(f"  pictures      {files_url}/live/pictures   as they land; tag them good, bad or doubtful")
    print(f"  deployments   {', '.join(names)}")
    print("\nCtrl-C ends it; runs that are going on are stopped and go on where they were when started again", flush=True)
    tidy_at = time.monotonic()
    while not stop.wait(LOOK_EVERY_S):
        children.check()
        try:
            if time.monotonic() > tidy_at:
                tidy_at = time.monotonic() + TIDY_EVERY_S
                tidy.tidy()
            if (now := deployments.offered()) != offered:
                deployments.renew_forms()
                offered = now
                print(f"forms renewed: classes {', '.join(now[0]) or 'none'}; recipes {', '.join(now[1])}", flush=True)
        except (PrefectException, httpx.HTTPError, CatalogError) as error:
            # A server or a database that is busy for a while: the next look comes soon.
            log.warning("forms not renewed, scans not tidied up: %s", type(error).__name__)
        try:
            for class_name in live.renew_reports():
                print(f"report of {class_name} written anew, with what its tags say of the rules", flush=True)
            for class_name in () if runs else live.write_missing_reports():
                print(f"report of {class_name} written, of a run elsewhere", flush=True)
        except (CatalogError, NoRoomLeft) as error:
            log.warning("report not written anew: %s", error)
    print("\nending ...", flush=True)


def work(settings: Settings, runs: int, scans: bool, health: tuple[str, int]) -> None:
    """Make runs that were launched elsewhere, until Ctrl-C or SIGTERM. Raises ValueError, in one line.

    scans: also those that a schedule launches, beside the others. health: where to say that the worker is well; port 0: nowhere.
    """
    api = (settings.prefect_api_url or os.environ.get("PREFECT_API_URL", "")).rstrip("/")
    if not api:
        raise ValueError("a worker joins a Prefect server: say where it is, such as DST_PREFECT_API_URL=http://10.0.0.5:4200/api")
    auth = _auth(settings, LOCAL[0], joining=True)
    prepare(settings)
    stop = _stop_on_signals()
    with _Children(settings, f"-{socket.gethostname()}") as children:
        _environment(settings, settings.files_url, auth)
        os.environ["PREFECT_API_URL"] = api
        _await_health(api, children, stop)
        _await_pool(api, stop)
        if stop.is_set():
            return
        from flows import deployments

        more = []
        if health[1]:
            os.environ |= {"PREFECT_WORKER_WEBSERVER_HOST": health[0], "PREFECT_WORKER_WEBSERVER_PORT": str(health[1])}
            more = ["--with-healthcheck"]
        children.start("worker", [*_worker(runs), "--work-queue", deployments.QUEUE, *more])
        if scans:
            children.start("scans", [*_worker(1, "-scans"), "--work-queue", deployments.SCANS])
        print(f"makes {runs} runs of {api} at a time; Ctrl-C ends it", flush=True)
        while not stop.wait(LOOK_EVERY_S):
            children.check()
        print("\nending ...", flush=True)
    print("ended; nothing of it runs on", flush=True)


def _worker(limit: int, suffix: str = "") -> list[str]:
    """Return the words that start a worker of so many runs at a time."""
    from flows import deployments

    name = f"{socket.gethostname()}-{os.getpid()}{suffix}"
    # Made by somebody who knows nothing of us, the pool would take commands.
    pool = ["--pool", deployments.POOL, "--type", "process", "--no-create-pool-if-not-found", "--install-policy", "never"]
    return ["worker", "start", *pool, "--name", name, "--limit", str(limit)]


def _await_pool(api: str, stop: threading.Event) -> None:
    """Wait until the deployments are registered, by `dst serve` elsewhere. Raises ValueError when nobody does so."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    from flows import deployments

    until = time.monotonic() + START_AT_MOST_S
    with get_client(sync_client=True) as client:
        while not stop.is_set():
            try:
                client.read_work_queue_by_name(deployments.SCANS, work_pool_name=deployments.POOL)
                return
            except ObjectNotFound:
                if time.monotonic() > until:
                    raise ValueError(f"nothing can be launched at {api} yet: start `dst serve --runs 0` for it first") from None
            stop.wait(1.0)


def _auth(settings: Settings, host: str, joining: bool) -> str:
    """Return "name:password" of the server, "" for none. Other machines get in only with it."""
    auth = (settings.api_auth if joining else settings.server_auth).get_secret_value()
    name = "PREFECT_API_AUTH_STRING" if joining else "PREFECT_SERVER_API_AUTH_STRING"
    if host not in LOCAL and not auth:
        raise ValueError(f'listening on {host} needs authentication: set {name}="name:password" in the environment or in .env')
    if auth and ":" not in auth.strip(":"):
        raise ValueError(f'{name} is "name:password", with a colon between the two')
    return auth


def _environment(settings: Settings, files_url: str, auth: str) -> None:
    """Set what this process and its children share. Secrets go this way only: in no argument, file or job variable."""
    for field in settings.model_fields_set:
        name = str(type(settings).model_fields[field].validation_alias or f"DST_{field.upper()}")
        value = getattr(settings, field)
        # Runs start in folders of their own, where a .env file and a relative path mean nothing.
        os.environ.setdefault(name, value.get_secret_value() if isinstance(value, SecretStr) else str(value))
    os.environ["DST_HOME"] = str(settings.root)
    os.environ["DST_FILES_URL"] = files_url
    os.environ.setdefault("PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT", "false")
    if auth:
        os.environ["PREFECT_API_AUTH_STRING"] = auth
        os.environ.setdefault("PREFECT_SERVER_API_AUTH_STRING", auth)


def _joined(api: str) -> str:
    """Return the UI's address of the server with this API."""
    return api.removesuffix("/api")


@contextmanager
def _files(settings: Settings, live: Live, host: str, port: int, auth: str) -> Iterator[str]:
    """Serve reports, pictures and the live pages; yield the address a browser reaches them under."""
    # Whoever tags says a word that filters are measured by: that asks for the password wherever there is one.
    pages = mount(live, settings.store, person=person(), auth=auth, own=_origin(settings.files_url))
    try:
        # This host's own files need no password from this host; others need the server's.
        server = FileServer(settings.root, settings.store, host, port, auth="" if host in LOCAL else auth, more=[pages])
    except OSError as error:
        raise ValueError(f"port {port} for reports and pictures cannot be had ({error.strerror}); say --files-port 0") from None
    server.start()
    try:
        yield settings.files_url or f"http://{_named(host)}:{server.port}"
    finally:
        server.stop()


def _origin(url: str) -> str:
    """Return the scheme, host and port of an address, as a browser says where a page is from."""
    return "/".join(url.split("/")[:3])


@contextmanager
def _alone(settings: Settings) -> Iterator[Any]:
    """Hold this home's place for one `dst serve`; yield what notes where it serves. The lock goes with the process."""
    path = note_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            where = (served(settings) or {}).get("api", "starting")
            raise ValueError(f"`dst serve` runs for {settings.root} already ({where}); end that one first") from None

        def note(said: Mapping[str, Any]) -> None:
            file.truncate(0)
            file.write(json.dumps(dict(said)))
            file.flush()

        file.truncate(0)
        yield note
        file.truncate(0)


_CHILD = """
import runpy, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
import flows, models, storage, tasks
sys.argv[0] = "prefect"
runpy.run_module("prefect", run_name="__main__", alter_sys=True)
"""
"""Prefect's command line in a process that is told to end when its parent is gone, however that went (Linux).

Our packages are found before the server's migrations put the working folder before them.
"""


class _Children:
    """The server and the worker: processes that end when this one does, with everything they started."""

    def __init__(self, settings: Settings, suffix: str = "") -> None:
        # Of workers elsewhere that have the same home, such as containers with one volume, each has logs of its own.
        self._folder, self._suffix = settings.root / "prefect", suffix
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: list[IO[bytes]] = []

    def __enter__(self) -> _Children:
        return self

    def __exit__(self, *error: object) -> None:
        # The runs first, then their workers, which would kill them, and last the server: it hears how they ended.
        workers = [name for name in self._running if name != "server"]
        end_runs([self._running[name].pid for name in workers])
        for name in (*workers, *(name for name in self._running if name == "server")):
            end_tree(self._running[name].pid)
            self._running[name].wait()
        for log in self._logs:
            log.close()

    def __contains__(self, name: str) -> bool:
        return name in self._running

    def log(self, name: str) -> Path:
        return self._folder / f"{name}{self._suffix}.log"

    def start(self, name: str, arguments: list[str]) -> None:
        log = self.log(name).open("wb")
        self._logs.append(log)
        self._running[name] = subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal is for this process, which then ends the others in order.
            start_new_session=True,
        )

    def check(self) -> None:
        """Raise ValueError when a child has ended by itself."""
        for name, process in self._running.items():
            if (code := process.poll()) is not None:
                last = self.log(name).read_text(errors="replace").strip().splitlines()[-3:]
                raise ValueError(f"the Prefect {name} ended with {code}: {' | '.join(last)}; its log: {self.log(name)}")


def end_runs(workers: Sequence[int]) -> None:
    """Ask the runs of workers to stop and wait until they have written down what they made."""
    family = [process for worker in workers for process in _children_of(worker)]
    runs = [process for process in family if "flows.engine" in _arguments(process)]
    for process in runs:
        _tell(process, signal.SIGTERM)
    psutil.wait_procs(runs, timeout=END_AT_MOST_S)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def end_tree(pid: int) -> None:
    """End a process and everything it started: asked first, killed when it does not go."""
    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for process in family:
        _tell(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=END_AT_MOST_S)
    # Whoever was started while the others were being told.
    late = [child for process in alive for child in _children(process)]
    for process in {*alive, *late}:
        _tell(process, signal.SIGKILL)
    psutil.wait_procs({*alive, *late}, timeout=5)


def _children_of(pid: int) -> list[psutil.Process]:
    try:
        return _children(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return []


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _tell(process: psutil.Process, what: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(what)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def stopped(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stopped)
    return stop


def _await_health(api: str, children: _Children, stop: threading.Event) -> None:
    """Wait until the server answers. Raises ValueError when it does not, or refuses us."""
    until = time.monotonic() + START_AT_MOST_S
    auth = os.environ.get("PREFECT_API_AUTH_STRING", "")
    login = httpx.BasicAuth(*auth.split(":", 1)) if auth else None
    while not stop.wait(0.3):
        children.check()
        try:
            answer = httpx.get(f"{api}/admin/version", auth=login, timeout=5)
        except httpx.HTTPError:
            answer = None
        if answer is not None and answer.status_code == 401:
            raise ValueError(f'the server at {api} asks for a password: set PREFECT_API_AUTH_STRING="name:password"')
        if answer is not None and answer.is_success:
            if wrong := clocks(answer.headers.get("date", ""), datetime.now(UTC)):
                raise ValueError(f"this machine's clock is {wrong} that of {api}: runs are started by it, so set both right")
            return
        if time.monotonic() > until:
            raise ValueError(f"no Prefect server answers at {api}")


def clocks(theirs: str, mine: datetime) -> str:
    """Return by how much a clock is before or behind another that says the time as HTTP does; "" where they agree."""
    if not theirs:
        return ""
    ahead = (mine - parsedate_to_datetime(theirs)).total_seconds()
    if abs(ahead) <= CLOCKS_S:
        return ""
    much = f"{abs(ahead) / 86_400:.1f} days" if abs(ahead) > 86_400 else f"{abs(ahead) / 60:.0f} minutes"
    return f"{much} {'before' if ahead > 0 else 'behind'}"


def see_that_strangers_are_refused(api: str, own: bool) -> None:
    """Ask as a page from elsewhere would (see flows.prefect_server). Raises ValueError when our own server answers it."""
    stranger = "http://stranger.invalid"
    answer = httpx.get(f"{api}/admin/version", headers={"Origin": stranger, "Host": "stranger.invalid"}, timeout=60)
    if answer.status_code in (401, 403):
        return
    if own:
        raise ValueError("the Prefect server would answer any web page (flows.prefect_server was not loaded): install this again")
    print(f"note: the server at {api} answers any web page that a person here has open; see Security in docs/operations.md")


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ValueError(
                f"port {port} cannot be had ({error.strerror}): say another with --port, "
                f"or join the server that is there with DST_PREFECT_API_URL=http://{_named(host)}:{port}/api"
            ) from None


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _named(host: str) -> str:
    """Return the name that a browser on this machine reaches a host under."""
    return "127.0.0.1" if host in ("0.0.0.0", "::", "localhost") else host
