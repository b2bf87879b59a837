"""A run is checked before it is called complete: each expectation is met by a sound run, and each can fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.artifacts import ArtifactStore, at
from storage.catalog.catalog import Catalog
from storage.expectations import CheckResult, check_run
from tests.catalog import records

pytestmark = pytest.mark.slow


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run of 24 samples with its files, waiting for something to be broken."""

    catalog: Catalog
    store: ArtifactStore
    run_id: str

    def check(self, docs: Path | None = None) -> CheckResult:
        return check_run(self.catalog.database.url.render_as_string(hide_password=False), self.run_id, self.store, docs=docs)

    def sql(self, statement: str) -> None:
        with self.catalog.database.writing() as connection:
            assert connection.execute(sa.text(statement)).rowcount, f"{statement} changed nothing"


@pytest.fixture
def run(catalog: Catalog, store: ArtifactStore) -> Run:
    histories = records.cohort("car", 3, 8)
    artifacts = records.put(store, records.records(histories))
    verdict = records.verdict(histories, "car")
    for history in histories[:3]:
        cad_key = history.records["cad"].key
        catalog.add_cad_model(
            cad_id=history.sample.cad_id, class_name="car", source="beetle.obj", keywords=["fast"], cad_key=cad_key
        )
    catalog.index([*artifacts, *verdict.put(store)])
    run_id = catalog.start_run(class_name="car", recipe="embedded", recipe_specs={}, samples=24)
    catalog.set_cohort("car", "embedded", run_id, [history.member(verdict.key) for history in histories])
    return Run(catalog, store, run_id)


def test_a_sound_run_meets_every_expectation(run: Run) -> None:
    result = run.check()
    assert result.failed == []
    assert result.success
    assert result.reason is None


ONE = "(SELECT min(image_key) FROM images)"
ONE_VIEW = "(SELECT min(render_key) FROM views)"
VIOLATIONS = {
    "the cohort has the 24 samples that were asked for": "DELETE FROM members WHERE image_key = " + ONE,
    "each sample_id occurs once": "UPDATE members SET sample_id = (SELECT min(sample_id) FROM members) WHERE view_index = 7",
    "a sample is made or failed": "UPDATE members SET status = 'perhaps' WHERE image_key = " + ONE,
    "a failed sample says at which stage and why": "UPDATE members SET status = 'failed' WHERE image_key = " + ONE,
    "at most 20% of the samples failed": "UPDATE members SET status = 'failed', stage = 'image', reason = 'black_image' "
    "WHERE view_index < 2",
    "source is never null": "DELETE FROM cad_models",
    "prompt is never null": "UPDATE captions SET prompt = NULL",
    "seed is never null": "UPDATE images SET seed = NULL WHERE image_key = " + ONE,
    "model_revision is never null": "UPDATE images SET model_revision = NULL WHERE image_key = " + ONE,
    "render_spec is never null": "UPDATE views SET spec_key = NULL WHERE render_key = " + ONE_VIEW,
    "file is never null": "DELETE FROM images WHERE image_key = " + ONE,
    "each image_key occurs once": "UPDATE members SET image_key = " + ONE + " WHERE view_index = 0",
    "azimuth_deg is in range": "UPDATE views SET azimuth_deg = 360 WHERE render_key = " + ONE_VIEW,
    "azimuth_deg is never null": "UPDATE views SET azimuth_deg = NULL, status = 'failed' WHERE render_key = " + ONE_VIEW,
    "elevation_deg is in range": "UPDATE views SET elevation_deg = 91 WHERE render_key = " + ONE_VIEW,
    "inplane_deg is in range": "UPDATE views SET inplane_deg = -181 WHERE render_key = " + ONE_VIEW,
    "distance is in range": "UPDATE views SET distance = 0 WHERE render_key = " + ONE_VIEW,
    "visible_fraction is in range": "UPDATE views SET visible_fraction = 0 WHERE render_key = " + ONE_VIEW,
    "truncated_fraction is in range": "UPDATE views SET truncated_fraction = 1.2 WHERE render_key = " + ONE_VIEW,
    "boxes lie inside the image": "UPDATE views SET box_x1 = 128 WHERE render_key = " + ONE_VIEW,
    "control_key is never null": "UPDATE members SET control_key = NULL WHERE image_key = " + ONE,
    "control_spec is never null": "DELETE FROM controls WHERE control_key = (SELECT min(control_key) FROM controls)",
    "an image is kept, dropped or not judged": "UPDATE verdicts SET kept = 2 WHERE image_key = " + ONE,
    "an image that was decided has a score": "DELETE FROM scores WHERE image_key = " + ONE,
    "an image with a score was decided": "DELETE FROM verdicts WHERE image_key = " + ONE,
    "a dropped image says why": "UPDATE verdicts SET reason = NULL WHERE kept = 0",
    "a verdict counts what it decided": "UPDATE filters SET kept_images = kept_images + 1, dropped_images = dropped_images - 1",
    "poses were compared with the promise": "UPDATE views SET status = 'failed'",
    "poses are spread as the viewpoint spec promises": "UPDATE views SET azimuth_deg = azimuth_deg / 8",
    "no pose is outside the promised range": "UPDATE views SET requested_distance = 3.5 WHERE render_key = " + ONE_VIEW,
    "no two views share a pose": "UPDATE views SET azimuth_deg = 10 WHERE view_index < 2",
}


@pytest.mark.parametrize("expectation", VIOLATIONS)
def test_a_planted_violation_is_found_and_named(run: Run, expectation: str) -> None:
    run.sql(VIOLATIONS[expectation])
    result = run.check()
    assert not result.success
    assert expectation in [name.rsplit(" (", 1)[0] for name in result.failed]
    assert expectation in str(result.reason) or len(result.failed) > 5


def test_a_share_is_told_in_per_cent(run: Run) -> None:
    run.sql("UPDATE members SET status = 'failed', stage = 'image', reason = 'nan'")
    failed = next(line for line in run.check().failed if "of the samples failed" in line)
    assert failed == "at most 20% of the samples failed (found 100%)"


def _image(run: Run) -> Path:
    key = str(run.catalog.query("SELECT min(image_key) AS k FROM samples").k[0])
    return Path(run.store.where) / at("image", key) / "image.png"


def _delete(path: Path) -> None:
    path.unlink()


def _flip_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("damage", "expectation"),
    [
        (_delete, "every artifact is present"),
        (_flip_one_bit, "every file has its recorded digest"),
        (_cut_in_half, "every file has its recorded digest"),
    ],
)
def test_a_damaged_file_is_found_and_named(run: Run, damage: Callable[[Path], None], expectation: str) -> None:
    image = _image(run)
    damage(image)
    result = run.check()
    assert f"{expectation} (1 of " in str(result.reason)
    problems = run.catalog.query("SELECT problem FROM file_checks WHERE digest_right = 0").problem.tolist()
    assert len(problems) == 1
    assert str(image) in problems[0]


def test_the_page_says_everything_that_was_expected_and_fetches_nothing(run: Run, tmp_path: Path) -> None:
    run.sql("UPDATE images SET seed = NULL WHERE image_key = " + ONE)
    run.sql("UPDATE views SET distance = -7.25 WHERE render_key = " + ONE_VIEW)
    result = run.check(tmp_path / "validation" / run.run_id / "index.html")
    assert result.docs_path is not None
    text = result.docs_path.read_text()
    assert f"2 of {result.expectations} expectations not met" in text
    assert text.count("<tr class=") == result.expectations + 2  # what was not met stands first as well
    assert text.index("seed is never null") < text.index("sample_id is never null")
    assert "1 of 24 rows" in text
    assert "-7.25" in text
    for fetched in ("<script", "<link", "<img", "src=", "url(", "http:", "https:"):
        assert fetched not in text


def test_images_that_nobody_could_judge_are_sound_and_not_kept(run: Run) -> None:
    histories = records.cohort("car", 3, 8)
    verdict = records.verdict(histories, "car", judges=())
    run.catalog.index(verdict.put(run.store))
    run.catalog.set_cohort("car", "embedded", run.run_id, [history.member(verdict.key) for history in histories])
    assert run.check().failed == []
    assert run.catalog.query("SELECT count(*) AS n FROM accepted").n[0] == 0


def test_every_expectation_is_violated_by_some_test(run: Run) -> None:
    from storage.expectations import PROVENANCE, _expectations

    never_null = {f"{column} is never null" for column in PROVENANCE}
    # One loop makes these: a planted NULL in five of its columns stands for the rest, and poses go missing together.
    poses = {
        f"{column} is never null"
        for column in ("elevation_deg", "inplane_deg", "distance", "visible_fraction", "truncated_fraction")
    }
    damaged = {"every artifact is present", "every file has its recorded digest"}
    names = {name for _, name, _ in _expectations(24, 0.2)}
    assert names - never_null - poses - damaged - set(VIOLATIONS) == set()
