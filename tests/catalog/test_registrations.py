"""What people said and what came from elsewhere: CAD models of collections, refused files, releases, others' images."""

from __future__ import annotations

import pytest

from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogError
from tests.catalog import records


def _register(catalog: Catalog, **said: object) -> None:
    catalog.add_cad_model(cad_id=records.cad_id(0), class_name="mug", source="mug.glb", **said)  # type: ignore[arg-type]


def test_a_cad_model_says_where_it_is_published_and_how_it_is_symmetric(catalog: Catalog) -> None:
    turned = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    _register(
        catalog, collection="objaverse", uid="ab12", symmetry=0, symmetry_origin="given", camera={"distance_factor": 2.0},
        alignment=turned,
    )  # fmt: skip
    (row,) = catalog.cad_models("mug")
    assert (row["collection"], row["uid"], row["symmetry"], row["symmetry_origin"]) == ("objaverse", "ab12", 0, "given")
    assert (row["camera"], row["alignment"]) == ({"distance_factor": 2}, turned)


def test_what_a_later_registration_leaves_open_stays_as_it_was_said(catalog: Catalog) -> None:
    _register(catalog, collection="objaverse", uid="ab12", symmetry=4, symmetry_origin="mesh")
    _register(catalog, keywords=["blue"], symmetry=2, symmetry_origin="given")
    (row,) = catalog.cad_models("mug")
    assert (row["collection"], row["uid"], row["symmetry"], row["symmetry_origin"]) == ("objaverse", "ab12", 2, "given")
    assert row["keywords"] == ["blue"]


def test_a_file_that_is_refused_again_is_one_row_until_it_is_taken_in(catalog: Catalog) -> None:
    for reason in ("unreadable", "no_faces"):
        catalog.quarantine("in/broken.obj", reason=reason, origin="watch", class_name="mug", detail="nothing in it", size=3)
    catalog.quarantine("other.obj", reason="unreadable", origin="import")
    assert [(row["path"], row["reason"]) for row in catalog.quarantined("mug")] == [("in/broken.obj", "no_faces")]
    assert [row["path"] for row in catalog.quarantined(origin="import")] == ["other.obj"]
    assert catalog.unquarantine("in/broken.obj") is True
    assert catalog.unquarantine("in/broken.obj") is False
    assert [row["path"] for row in catalog.quarantined()] == ["other.obj"]


def test_a_file_cannot_be_refused_by_nobody(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="a file is refused by watch, import, add, not by moon"):
        catalog.quarantine("a.obj", reason="unreadable", origin="moon")


def test_a_run_that_is_alive_says_so_and_by_whom_it_was_started(catalog: Catalog) -> None:
    parent = catalog.start_run(class_name="mug", recipe="embedded", recipe_specs={}, samples=1, kind="scan")
    child = catalog.start_run(class_name="mug", recipe="embedded", recipe_specs={}, samples=1, parent_run=parent)
    started = catalog.run(child)["heartbeat_at"]
    catalog.heartbeat(child)
    row = catalog.run(child)
    assert (row["kind"], row["parent_run"], catalog.run(parent)["kind"]) == ("generate", parent, "scan")
    assert row["heartbeat_at"] > started


def test_a_release_never_changes(catalog: Catalog) -> None:
    samples = [{"sample_id": f"mug-{n}", "image_key": f"{n}" * 64, "sha256": "a" * 64} for n in (2, 1)]
    about = {"format": "coco", "query": "kept = 1", "digest": "d" * 64, "path": "out"}
    catalog.add_release(name="mug-v1", samples=samples, card={"licences": ["CC0"]}, **about)
    with pytest.raises(ValueError, match=r'there is a release "mug-v1" since 20.*give another name'):
        catalog.add_release(name="mug-v1", samples=samples[:1], **about)
    (row,) = catalog.releases()
    assert (row["samples"], row["card"]) == (2, {"licences": ["CC0"]})
    assert [sample["sample_id"] for sample in catalog.release_samples("mug-v1")] == ["mug-1", "mug-2"]
    with pytest.raises(ValueError, match='no release "mug-v2"; there are: mug-v1'):
        catalog.release_samples("mug-v2")


def test_images_of_others_are_kept_apart_and_change_when_more_is_known(catalog: Catalog) -> None:
    image = {"image_id": "a" * 64, "origin": "official", "class_name": "mug", "path": "mug/1.png"}
    assert catalog.add_foreign_images([image]) == 1
    catalog.add_foreign_images([{**image, "azimuth_deg": 12.5, "facts": {"strategy": "normal"}}])
    catalog.add_foreign_captions([{"origin": "official", "class_name": "mug", "number": 0, "prompt": "a mug"}])
    (row,) = catalog.rows("SELECT * FROM foreign_images")
    assert (row["azimuth_deg"], row["kept"]) == (12.5, None)
    assert catalog.query("SELECT count(*) AS n FROM samples").n[0] == 0
    assert catalog.query("SELECT prompt FROM foreign_captions").prompt.tolist() == ["a mug"]
    assert catalog.add_foreign_images([]) == 0


def test_new_tables_are_suggested_for_misspelt_ones(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="did you mean quarantine"):
        catalog.query("SELECT * FROM quarantined")
