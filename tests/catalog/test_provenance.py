"""The view `provenance`: one row answers how a sample came to be, on both databases, with plain SQL."""

from __future__ import annotations

import json
from typing import Any

from models.image.controlnet import paper_sd15
from storage.catalog.catalog import Catalog
from storage.keys import plain
from tests.catalog import records

URL = "http://127.0.0.1:4200/runs/flow-run/abc"


def provenance(catalog: Catalog, monkeypatch: Any, fails_at: str | None = None) -> dict[str, Any]:
    """Return the row of one of six samples, made with real specs by a run with a Prefect URL."""
    monkeypatch.setitem(records.SPECS, "control", {"kind": "geometry", "jump": 0.05})
    monkeypatch.setitem(records.SPECS, "image", plain(paper_sd15()))
    monkeypatch.setitem(records.SPECS, "kcf", {"kind": "kcf", "side": 96, "margin": 1.3})
    histories = records.cohort("car", 2, 3)
    asked = records.history("car", 7, 0, fails_at=fails_at) if fails_at else histories[0]
    histories = [*histories, asked] if fails_at else histories
    for history in histories:
        catalog.add_cad_model(
            cad_id=history.sample.cad_id,
            class_name="car",
            source="cars/beetle.obj",
            keywords=["hatchback"],
            licence="CC BY 4.0",
            cad_key=history.records["cad"].key,
            facts=records.cad_values(),
        )
    verdict = records.verdict([history for history in histories if history.made], "car")
    catalog.index([*records.records(histories), *verdict.put(catalog.store)])
    run_id = catalog.start_run(
        class_name="car",
        recipe="paper",
        recipe_specs={"name": "paper"},
        samples=len(histories),
        flow_run_url=URL,
        runtime={"code": "1773101abcde", "machine": "x86_64", "python": "3.11.2", "packages": {"torch": "2.13.0"}},
    )
    members = [history.member(verdict.key if history.made else None) for history in histories]
    catalog.set_cohort("car", "paper", run_id, members)
    frame = catalog.query(f"select * from provenance where sample_id = '{asked.sample}'")
    assert len(frame) == 1
    return dict(frame.astype(object).where(frame.notna(), None).iloc[0])


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def test_one_row_says_who_made_a_sample_of_what_with_which_settings_and_why_it_is_kept(
    catalog: Catalog, monkeypatch: Any
) -> None:
    row = provenance(catalog, monkeypatch)
    spec = paper_sd15()
    assert (row["cad_source"], row["licence"], row["keywords"]) == ("cars/beetle.obj", "CC BY 4.0", "hatchback")
    assert row["azimuth_deg"] is not None
    assert (row["light_kind"], row["visible_fraction"], row["box_x0"]) == ("sampled", 1.0, 10.0)
    assert (row["control_kind"], row["control_density"]) == ("geometry", 0.05)
    assert _json(row["control_settings"]) == {"kind": "geometry", "jump": 0.05}
    assert _json(row["controls"]) == {"geometry": row["control_key"]}
    assert (row["judged_side"], row["judged_margin"]) == (96, 1.3)
    assert set(_json(row["score_keys"])) == set(_json(row["judges"])) == {"kcf", "fidelity"}
    assert (row["prompt"], row["captioner"], row["captioner_revision"]) == ("a photo of a red car", "grammar", "1")
    assert (row["generator"], row["generator_revision"]) == ("embedded", "abc")
    assert (row["control_model"], row["control_revision"]) == (spec.control_model, spec.control_revision)
    assert (row["scheduler"], row["steps"], row["guidance"], row["control_scale"]) == ("ddim", 20, 9.0, 1.0)
    assert row["seed"] == records.history("car", 0, 0).sample.seed("image")
    assert (row["code"], row["machine"], row["flow_run_url"]) == ("1773101abcde", "x86_64", URL)
    assert (row["rule"], row["kcf"], row["fidelity"]) == ("kcf <= 2; fidelity >= 0.25", 1.0 if row["kept"] else 3.0, 0.9)
    assert [rule["threshold"] for rule in _json(row["rules"])] == [2.0, 0.25]
    assert row["why"] == (row["rule"] if row["kept"] else "dropped: pose_inconsistent")
    assert _json(row["image_files"])["image.png"]["sha256"] == row["sha256"]
    assert row["image_folder"] == f"image/{row['image_key'][:2]}/{row['image_key']}"


def test_a_failed_sample_says_where_and_why(catalog: Catalog, monkeypatch: Any) -> None:
    row = provenance(catalog, monkeypatch, fails_at="control")
    assert row["why"] == "no image: failed at control (no_control)"
    assert row["cad_source"] == "cars/beetle.obj"
    assert row["generator"] is None
