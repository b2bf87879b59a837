"""The index of reports is written at the end of every run: what it costs must not grow with every class there ever was."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import recipes
from storage.catalog.catalog import Catalog
from storage.keys import plain
from storage.settings import Settings
from tasks.plan import pages
from tasks.plan.pages import report_path, write_index
from tasks.plan.place import Place


def test_the_index_leads_to_the_newest_reports_by_name_and_says_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(pages, "INDEXED", 3)
    settings = Settings()
    catalog = Catalog(settings.catalog, settings.store)
    catalog.migrate()
    specs = plain(recipes.resolve("embedded-quick").pinned())
    written = {}
    for number in range(5):
        name = f"class {number:02d}"
        for _ in range(2):
            run_id = catalog.start_run(class_name=name, recipe="embedded", recipe_specs=specs, samples=4)
            catalog.finish_run(run_id, status="complete")
        written[name] = report_path(settings.root, run_id)
        written[name].parent.mkdir(parents=True, exist_ok=True)
        written[name].write_text("a report")
    text = write_index(Place.of(settings)).read_text()
    places = [text.find(f'href="{page.name}"') for page in written.values()]
    assert places[:2] == [-1, -1]
    assert places[2:] == sorted(places[2:])
    assert min(places[2:]) > 0
    assert "the newest 3 of 5 reports" in text
