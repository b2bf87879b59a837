"""What the report's tests share."""

from __future__ import annotations

import pytest

from storage.report.content import Report
from tests.report.made_up import run_report


@pytest.fixture(scope="session")
def made_up_run() -> Report:
    return run_report(24)
