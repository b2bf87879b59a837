"""What a server or a catalog that is away, or too busy, costs: the show of the work, never the work."""

from __future__ import annotations

import logging
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Failed

from flows.commands import doctor
from flows.commands.terminal import watched
from flows.overview import scheduled
from storage.catalog import database
from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogLocked, CatalogMissing
from storage.settings import Settings
from tasks import events, status, worker
from tasks.faults import time_can_heal

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def says() -> Iterator[list[bytes]]:
    """What a server at `api(says)` answers to everything: its last element; the first is its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        said = [str(listening.getsockname()[1]).encode(), BUSY]

        def answer() -> None:
            while True:
                try:
                    caller, _ = listening.accept()
                except OSError:
                    return
                with caller:
                    caller.recv(65536)
                    caller.sendall(said[-1])

        threading.Thread(target=answer, daemon=True).start()
        yield said


def api(says: list[bytes]) -> str:
    return f"http://127.0.0.1:{says[0].decode()}/api"


def test_a_server_that_is_too_busy_for_a_table_costs_the_table_alone(
    says: list[bytes], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("dst"), "propagate", True)
    with temporary_settings({PREFECT_API_URL: api(says), PREFECT_CLIENT_MAX_RETRIES: 0}):
        status.show([{"class": "car"}])
    assert "the status of all classes not shown in Prefect" in caplog.text
    assert "503" in caplog.text


def test_what_is_no_prefect_server_costs_a_line(says: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DST_HOME", str(tmp_path))
    monkeypatch.setenv("DST_PREFECT_API_URL", api(says))
    says.append(b"SSH-2.0-OpenSSH_9.2\r\n")
    settings = Settings()
    assert events.collection_imported(settings, api(says), "toys4k") is False
    rows, silence = scheduled(settings)
    assert rows == []
    assert "does not say what is scheduled" in silence


def test_doctor_names_a_server_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DST_HOME", str(tmp_path))
    monkeypatch.setenv("DST_PREFECT_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(RuntimeError, match=r"the server at http://127\.0\.0\.1:1/api does not answer"):
        doctor._prefect(Settings())


def test_a_catalog_that_somebody_else_is_writing_is_tried_again_and_one_that_is_missing_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT_S", 0.05)
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.sqlite")
    catalog.migrate()
    other = sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(CatalogLocked) as locked:
        Catalog(f"sqlite:///{tmp_path}/catalog.sqlite").index([])
    other.close()
    with pytest.raises(CatalogMissing) as missing:
        Catalog(f"sqlite:///{tmp_path}/none.sqlite").classes()
    assert time_can_heal(None, None, Failed(data=locked.value))  # type: ignore[arg-type]
    assert not time_can_heal(None, None, Failed(data=missing.value))  # type: ignore[arg-type]


def test_a_command_that_makes_several_classes_says_every_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        with watched():
            logging.getLogger("dst").info("one shard made")
    assert capsys.readouterr().err.count("one shard made") == 3
    assert not worker.listeners
