"""What the report's tests share."""

from __future__ import annotations

import pytest

from storage.report.content import Report
from tests.report.made_up import run_report
from tests.report.painted import Painted


@pytest.fixture(scope="session")
def made_up_run() -> Report:
    return run_report(24)


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Painted:
    return Painted(tmp_path_factory.mktemp("gallery"))
