"""Catalog and store compared while people work: what a run has made and not yet written down is no difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import recipes
from flows.catalog import SHOWN, compare
from storage.artifacts import Record
from storage.catalog.catalog import Catalog
from storage.keys import digest, plain
from storage.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    return Settings()


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    """A catalog that knows nothing of more artifacts than a log should list."""
    catalog = Catalog(settings.catalog, settings.store)
    catalog.migrate()
    for number in range(SHOWN + 2):
        key = digest(str(number).encode())
        settings.store.put(Record(key=key, stage="control", version=1, spec={}, inputs={}), {"control.png": b"edges"})
    return catalog


def test_artifacts_without_a_row_are_a_difference_and_not_all_of_them_are_listed(settings: Settings, catalog: Catalog) -> None:
    found = compare(settings, digests=True)
    assert found.counts == {"no_row": SHOWN + 2}
    assert (len(found.shown), found.being_made) == (SHOWN, 0)


@pytest.mark.parametrize("ends_meanwhile", [False, True])
def test_artifacts_without_a_row_are_none_while_a_run_makes_some_but_damage_is(
    settings: Settings, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, ends_meanwhile: bool
) -> None:
    recipe = recipes.resolve("embedded")
    run_id = catalog.start_run(class_name="car", recipe="embedded", recipe_specs=plain(recipe.pinned()), samples=4)
    damaged = settings.store.get("control", digest(b"0"))
    (settings.root / "artifacts" / settings.store.address(damaged, "control.png")).write_bytes(b"hedges")
    if ends_meanwhile:
        from flows import catalog as flow

        def while_it_ends(*args: object, **named: object) -> object:
            yield from differences(*args, **named)
            catalog.finish_run(run_id, status="complete")

        differences = flow.differences
        monkeypatch.setattr(flow, "differences", while_it_ends)
    found = compare(settings, digests=True)
    assert found.counts == {"damaged_file": 1}
    assert found.being_made == SHOWN + 2
