"""The samples view: everything about a sample, flat."""

from __future__ import annotations

from storage.catalog.catalog import Catalog
from storage.stages import OF_A_SAMPLE
from tests.catalog import records
from tests.catalog.records import History


def _run(catalog: Catalog, histories: list[History], class_name: str = "car", recipe: str = "embedded") -> str:
    for history in histories:
        catalog.add_cad_model(
            cad_id=history.sample.cad_id,
            class_name=class_name,
            source="cars/beetle.obj",
            keywords=["hatchback", "city car"],
            licence="CC0",
            cad_key=history.records["cad"].key,
            facts=records.cad_values(),
        )
    made = [history for history in histories if history.made]
    verdict = records.verdict(made, class_name)
    catalog.index([*records.records(histories), *verdict.put(catalog.store)])
    run_id = catalog.start_run(class_name=class_name, recipe=recipe, recipe_specs={"name": recipe}, samples=len(histories))
    members = [history.member(verdict.key if history.made else None) for history in histories]
    catalog.set_cohort(class_name, recipe, run_id, members)
    return run_id


def test_a_sample_is_one_flat_row_with_its_whole_history(catalog: Catalog) -> None:
    histories = records.cohort("car", 2, 3)
    run_id = _run(catalog, histories)
    frame = catalog.query("SELECT * FROM samples ORDER BY sample_id")
    assert len(frame) == 6
    row = frame[frame.sample_id == str(histories[0].sample)].iloc[0]
    made = histories[0].records
    assert (row.class_name, row.cad_id, row.source, row.keywords, row.licence) == (
        "car", histories[0].sample.cad_id, "cars/beetle.obj", "hatchback, city car", "CC0",
    )  # fmt: skip
    assert row.azimuth_deg == made["render"].values["azimuth_deg"]
    assert [row.box_x0, row.box_y0, row.box_x1, row.box_y1] == made["render"].values["box"]
    assert (row.prompt, row.colour, row.scene) == ("a photo of a red car", "red", "a street")
    assert row.seed == histories[0].sample.seed("image")
    for stage in OF_A_SAMPLE:
        assert row[f"{stage}_key"] == made[stage].key
        assert len(row[f"{stage}_spec"]) == 64
    assert (row.run_id, row.in_cohort, row.status, row.kept in (0, 1)) == (run_id, 1, "made", True)
    assert row.file == f"image/{row.image_key[:2]}/{row.image_key}/image.png"
    unsaid = ["stage", "reason", "detail", "flow_run_url", "made_by_run", "made_by_url", "drop_reason", "drop_words"]
    unsaid += ["tag", "tag_note", "tagged_by", "tagged_at"]
    assert not frame.drop(columns=unsaid).isna().any().any()


def test_the_share_of_kept_samples_is_the_average_of_kept(catalog: Catalog) -> None:
    _run(catalog, records.cohort("car", 2, 5))
    frame = catalog.query("select class_name, count(*), avg(kept) from samples group by 1")
    assert frame.values.tolist() == [["car", 10, 0.8]]


def test_a_sample_whose_render_failed_is_a_row_with_stage_and_reason(catalog: Catalog) -> None:
    histories = [*records.cohort("car", 1, 2), records.history("car", 1, 0, fails_at="render")]
    _run(catalog, histories)
    frame = catalog.query("SELECT status, stage, reason, file, kept FROM samples WHERE status <> 'made'")
    assert frame.iloc[0, :3].tolist() == ["failed", "render", "no_render"]
    assert frame.iloc[0, 3:].isna().all()


def test_a_black_image_is_a_row_with_its_reason_and_no_file(catalog: Catalog) -> None:
    _run(catalog, [records.history("car", 0, 0), records.history("car", 0, 1, fails_at="image")])
    frame = catalog.query("SELECT stage, reason, file FROM samples WHERE status = 'failed'")
    assert frame.iloc[0, :2].tolist() == ["image", "no_image"]
    assert frame.file.isna().all()


def test_indexing_twice_changes_nothing(catalog: Catalog) -> None:
    _run(catalog, records.cohort("car", 2, 2))
    before = catalog.query("SELECT * FROM samples ORDER BY sample_id")
    _run(catalog, records.cohort("car", 2, 2))
    after = catalog.query("SELECT * FROM samples ORDER BY sample_id")
    assert before.drop(columns="run_id").equals(after.drop(columns="run_id"))


def test_surplus_samples_leave_the_cohort_but_stay(catalog: Catalog) -> None:
    _run(catalog, records.cohort("car", 1, 4))
    _run(catalog, [*records.cohort("car", 2, 2)])
    frame = catalog.query("SELECT in_cohort, count(*) AS n FROM samples GROUP BY 1 ORDER BY 1")
    assert frame.values.tolist() == [[0, 2], [1, 4]]


def test_a_changed_caption_recipe_leaves_the_old_images_beside_the_new_ones(catalog: Catalog) -> None:
    _run(catalog, records.cohort("car", 1, 2))
    _run(catalog, records.cohort("car", 1, 2, recipe="other words"))
    frame = catalog.query("SELECT sample_id, in_cohort, image_key FROM samples")
    assert frame.sample_id.nunique() == 2
    assert frame.image_key.nunique() == 4
    assert frame.in_cohort.sum() == 2


def test_a_failed_sample_that_is_made_later_leaves_no_failed_row_behind(catalog: Catalog) -> None:
    _run(catalog, [records.history("car", 0, 0), records.history("car", 0, 1, fails_at="render")])
    _run(catalog, records.cohort("car", 1, 2))
    assert catalog.query("SELECT DISTINCT status FROM samples").status.tolist() == ["made"]


def test_the_run_that_made_a_sample_is_remembered_when_a_later_run_takes_it_over(catalog: Catalog) -> None:
    first = _run(catalog, records.cohort("car", 1, 1))
    second = _run(catalog, records.cohort("car", 1, 1))
    row = catalog.query("SELECT run_id, first_run_id FROM samples").iloc[0]
    assert (row.first_run_id, row.run_id) == (first, second)
