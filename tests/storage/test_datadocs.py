"""Data Docs: one page over what was found, readable offline, that believes nothing it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from storage import datadocs
from storage.datadocs import Expectation

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def finding(table: str, name: str, *, met: bool = True, found: str = "as promised", **more: Any) -> Expectation:
    about = {"expectation": "expect_column_values_to_be_between", "limits": {"column": "azimuth_deg", "strict_max": True}}
    return Expectation(table=table, name=name, met=met, found=found, **{**about, **more})


def test_every_expectation_is_there_and_what_is_not_met_comes_first(tmp_path: Path) -> None:
    page = tmp_path / "validation" / "17" / "index.html"
    findings = [
        finding("samples", "each sample_id occurs once"),
        finding("made", "azimuth_deg is in range", met=False, found="2 of 24 rows", examples=("360.0", "361.5")),
        finding("made", "seed is never null"),
    ]
    datadocs.write(page, title="Run 17", findings=findings)
    text = page.read_text()
    assert "1 of 3 expectations not met" in text
    assert text.index("azimuth_deg is in range") < text.index("each sample_id occurs once") < text.index("seed is never null")
    for said in ("Run 17", "2 of 24 rows", "360.0", "361.5", "strict_max", "1 of 2 met", "as promised"):
        assert said in text
    datadocs.write(page, title="Run 17", findings=findings[:1])
    assert "All 1 expectations met" in page.read_text()
    assert 'id="unmet"' not in page.read_text()


def test_the_page_runs_nothing_and_fetches_nothing(tmp_path: Path) -> None:
    evil = finding(EVIL, EVIL, met=False, found=EVIL, expectation=EVIL, limits={EVIL: EVIL}, examples=[EVIL])
    datadocs.write(tmp_path / "index.html", title=EVIL, findings=[evil])
    text = (tmp_path / "index.html").read_text()
    assert "<script" not in text
    assert "<img" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert "url(" not in text
