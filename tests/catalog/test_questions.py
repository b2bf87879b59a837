"""The views for the questions people ask give the numbers that were put in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from storage.catalog.catalog import Catalog
from storage.catalog.questions import AZIMUTH_BIN, ELEVATION_BIN
from tests.catalog import records
from tests.catalog.records import History


def run(catalog: Catalog, class_name: str, histories: Sequence[History], **how: Any) -> str:
    """A finished run of these samples; returns the key of its verdicts."""
    made = [history for history in histories if history.made]
    verdict = records.verdict(made, class_name)
    catalog.index([*records.records(list(histories)), *verdict.put(catalog.store)])
    for history in histories:
        number = history.sample.cad_id[:4]
        catalog.add_cad_model(
            cad_id=history.sample.cad_id, class_name=class_name, source=f"{number}.obj", cad_name=number, licence="CC0",
            cad_key=history.records["cad"].key, facts=records.cad_values(),
        )  # fmt: skip
    run_id = catalog.start_run(class_name=class_name, recipe="embedded", recipe_specs={}, samples=len(histories), **how)
    members = [history.member(verdict.key if history.made else None) for history in histories]
    catalog.set_cohort(class_name, "embedded", run_id, members)
    seconds = {"render": 12.0, "image": 30.0}
    catalog.finish_run(run_id, status="complete", seconds=seconds, counts={"new_render": 6, "new_image": 0})
    return verdict.key


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """Two CAD models with 5 views each, 8 of 10 kept, and two samples that failed; another class; things refused at the door."""
    failed = [records.history("car", 0, 7, fails_at="render"), records.history("car", 1, 7, fails_at="image")]
    run(catalog, "car", [*records.cohort("car", 2, 5), *failed])
    run(catalog, "mug", records.cohort("mug", 1, 5))
    catalog.add_cad_model(cad_id="f" * 64, class_name="car", source="bad.obj", status="rejected", reason="no_faces")
    catalog.quarantine("in/broken.obj", reason="unreadable", origin="watch", class_name="car")
    return catalog


def test_accepted_samples_are_those_the_filter_kept_with_pose_camera_and_boxes(filled: Catalog) -> None:
    frame = filled.query("select * from accepted where class_name = 'car' order by sample_id")
    kept = filled.query("select sample_id from samples where class_name = 'car' and kept = 1 order by 1").sample_id.tolist()
    assert frame.sample_id.tolist() == kept
    assert len(kept) == 8
    row = frame.iloc[0]
    assert [row.box_x0, row.box_y0, row.box_x1, row.box_y1] == [10.0, 20.0, 100.0, 90.0]
    assert not frame[["azimuth_deg", "distance", "intrinsics", "rotation", "translation", "box3d", "sha256"]].isna().any().any()
    assert row.mask_file == f"render/{row.render_key[:2]}/{row.render_key}/mask.png"


def test_samples_that_left_the_cohort_are_no_longer_accepted(filled: Catalog) -> None:
    run(filled, "car", records.cohort("car", 1, 1))
    assert filled.query("select count(*) as n from accepted where class_name = 'car'").n[0] <= 1


def test_coverage_counts_every_pose_in_its_bin(filled: Catalog) -> None:
    frame = filled.query("select * from coverage where class_name = 'car'")
    assert frame.samples.sum() == 11  # the twelfth sample has no render, and so no pose
    assert frame.kept.sum() == 8
    poses = filled.query("select azimuth_deg, elevation_deg from samples where class_name = 'car' and azimuth_deg is not null")
    expected = {
        (a // AZIMUTH_BIN * AZIMUTH_BIN, e // ELEVATION_BIN * ELEVATION_BIN)
        for a, e in poses.itertuples(index=False)
    }  # fmt: skip
    assert set(zip(frame.azimuth_from_deg, frame.elevation_from_deg)) == expected


@pytest.mark.parametrize(
    ("azimuth", "elevation", "bin_"),
    [(0.0, -90.0, (0, -90)), (30.0, 0.0, (30, 0)), (359.9, 89.9, (330, 75)), (90.0, 90.0, (90, 75)), (149.99, -0.01, (120, -15))],
)
def test_the_ends_of_bins_are_the_same_on_every_database(
    catalog: Catalog, azimuth: float, elevation: float, bin_: tuple[int, int]
) -> None:
    history = records.history("car", 0, 0)
    history.records["render"].values.update(azimuth_deg=azimuth, elevation_deg=elevation)
    run(catalog, "car", [history])
    assert tuple(catalog.query("select azimuth_from_deg, elevation_from_deg from coverage").iloc[0]) == bin_


def test_yield_is_the_share_of_a_cad_models_samples_that_were_kept(filled: Catalog) -> None:
    frame = filled.query("select * from yields where class_name = 'car' order by cad_id")
    assert frame.samples.tolist() == [6, 6]
    assert (frame.made.sum(), frame.failed.sum(), frame.kept.sum(), frame.dropped.sum()) == (10, 2, 8, 2)
    assert frame["yield"].tolist() == [kept / 6 for kept in frame.kept]
    assert frame.licence.tolist() == ["CC0", "CC0"]


def test_rejections_name_every_reason_from_the_door_to_the_filter(filled: Catalog) -> None:
    frame = filled.query("select what, stage, reason, rejected from rejections where class_name = 'car' order by 1, 2, 3")
    assert frame.values.tolist() == [
        ["CAD file", "intake", "unreadable", 1],
        ["CAD model", "cad", "no_faces", 1],
        ["sample", "image", "no_image", 1],
        ["sample", "render", "no_render", 1],
        ["sample", "verdict", "pose_inconsistent", 2],
    ]


def test_costs_are_the_seconds_of_each_stage_of_each_run(filled: Catalog) -> None:
    frame = filled.query("select stage, seconds, made, seconds_each from costs where class_name = 'car' order by 1")
    assert frame.stage.tolist() == ["image", "render"]
    assert frame.seconds.tolist() == [30.0, 12.0]
    assert frame.made.tolist() == [0, 6]
    assert frame.seconds_each.isna().tolist() == [True, False]
    assert frame.seconds_each[1] == 2.0


def test_the_lineage_of_an_image_leads_to_the_registered_file(filled: Catalog) -> None:
    history = records.cohort("mug", 1, 5)[0]
    made = history.records
    frame = filled.query(f"select * from lineage where key = '{made['image'].key}' order by depth, upstream_stage")
    assert frame.upstream_stage.tolist() == ["caption", "control", "render", "cad", "source"]
    assert frame.depth.tolist() == [1, 1, 2, 3, 4]
    assert frame.upstream_key[:4].tolist() == [made[stage].key for stage in ("caption", "control", "render", "cad")]
    assert frame.upstream_sha256[1] == made["control"].files["control.png"]["sha256"]
    assert frame.upstream_sha256[4] == history.sample.cad_id
    assert frame.file[0] == f"image/{made['image'].key[:2]}/{made['image'].key}/image.png"


def test_the_lineage_of_a_verdict_names_each_ancestor_once(filled: Catalog) -> None:
    key = filled.query("select distinct verdict_key from samples where class_name = 'mug'").verdict_key[0]
    frame = filled.query(f"select upstream_stage, count(*) as n from lineage where key = '{key}' group by 1 order by 1")
    counted = dict(frame.itertuples(index=False))
    assert counted == {"cad": 1, "caption": 5, "control": 5, "image": 5, "render": 5, "score": 2, "source": 1}
