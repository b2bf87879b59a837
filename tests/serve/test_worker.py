"""`dst worker` where it cannot work: one line, before anything is started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from flows.commands import serve
from storage.settings import Settings
from tests.answering import answering

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def test_a_worker_without_a_server_is_told_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(ValueError, match="DST_PREFECT_API_URL=") as caught:
        serve.work(Settings(home=tmp_path / "home"), 1, True, ("127.0.0.1", 0))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("off", "says"),
    [
        (timedelta(seconds=20), ""),
        (timedelta(minutes=-5), "5 minutes behind"),
        (timedelta(days=10), "10.0 days before"),
    ],
)
def test_clocks_that_differ_are_said(off: timedelta, says: str) -> None:
    assert serve.clocks(format_datetime(NOW, usegmt=True), NOW + off) == says
    assert serve.clocks("", NOW + off) == ""


def test_a_worker_whose_clock_is_off_ends_in_one_line_before_it_takes_a_run(tmp_path: Path) -> None:
    code = "from flows import cli; from flows.commands import serve; serve.CLOCKS_S = -1; cli.main()"
    with answering() as api:
        told = os.environ | {"DST_HOME": str(tmp_path), "DST_PREFECT_API_URL": api}
        ended = subprocess.run([sys.executable, "-c", code, "worker"], env=told, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert re.fullmatch(
        r"dst: this machine's clock is 0 minutes \w+ that of .*: runs are started by it, so set both right\n", ended.stderr
    ), ended.stderr
