"""docs/exports.md: a section a format, each with code that loads a release, and the same code on the card."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.export.release import FORMATS
from tests.export.conftest import ROOT, Made

PAGE = (ROOT / "docs" / "exports.md").read_text()
SNIPPETS = dict(re.findall(r"^## ([\w-]+)\n.*?```python\n(.*?)```", PAGE, re.M | re.S))


def test_every_format_has_a_section_and_a_row_in_the_table() -> None:
    assert set(FORMATS) == set(SNIPPETS)
    assert set(FORMATS) == set(re.findall(r"^\| `([\w-]+)` \|", PAGE, re.M))


@pytest.mark.parametrize("format", FORMATS)
def test_the_card_shows_the_same_code_as_the_page(format: str) -> None:
    assert SNIPPETS[format].strip() == FORMATS[format].loading.strip()


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_the_code_on_the_page_loads_a_release(format: str, released: Callable[[str], Path], made: Made, tmp_path: Path) -> None:
    import os

    os.environ["HF_DATASETS_CACHE"] = str(tmp_path)
    names: dict[str, object] = {"OUT": str(released(format))}
    exec(compile(SNIPPETS[format], f"docs/exports.md {format}", "exec"), names)
    if "azimuth" in names:
        wanted = "(azimuth_deg + 90) % 360" if format == "official" else "azimuth_deg"
        assert isinstance(names["azimuth"], float), wanted
    if "image" in names:
        assert names["image"].size == (128, 128)  # type: ignore[attr-defined]
    if "mask" in names:
        assert names["mask"].shape == (128, 128)  # type: ignore[attr-defined]
