"""What a run must fulfil before it is called complete, checked by Great Expectations on the catalog itself.

Enters: a run whose cohort is in the catalog, and the store. Leaves: a CheckResult that names every failed expectation, and a page
that says what was expected and found. Great Expectations is imported on first use: no light command should pay for that.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storage import datadocs
from storage.artifacts import ArtifactStore
from storage.catalog import findings, schema, tables
from storage.catalog.database import Database

LEAST_CHANCE = 1e-5
"""Poses less likely than this under the viewpoint spec's promise are no accident."""

PROVENANCE = (
    "sample_id", "class_name", "cad_id", "source", "keywords", "view_index", "draw_index", "prompt", "seed", "attempt",
    "model_id", "model_revision", "recipe", "run_id", "cad_key", "render_key", "control_key", "caption_key", "image_key",
    "render_spec", "control_spec", "caption_spec", "image_spec", "sha256", "file",
)  # fmt: skip
"""Columns without which a made sample's origin would be in doubt."""

POSE_RANGES: dict[str, dict[str, Any]] = {
    "azimuth_deg": {"min_value": 0, "max_value": 360, "strict_max": True},
    "elevation_deg": {"min_value": -90, "max_value": 90},
    "inplane_deg": {"min_value": -180, "max_value": 180},
    "distance": {"min_value": 0, "strict_min": True},
    "visible_fraction": {"min_value": 0, "max_value": 1, "strict_min": True},
    "truncated_fraction": {"min_value": 0, "max_value": 1},
}
"""What no pose can leave, whatever the recipe."""

_ONE_AT_A_TIME = threading.Lock()
"""Great Expectations keeps its current project in a global."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """How a run's check went."""

    success: bool
    """All expectations were met."""
    expectations: int
    """How many were checked."""
    failed: list[str]
    """The ones that were not met, by name, each with what was found."""
    docs_path: Path | None
    """The page that was written, where one was asked for."""

    @property
    def reason(self) -> str | None:
        """One line for the run's row: why it is invalid."""
        if self.success:
            return None
        shown = "; ".join(self.failed[:5])
        more = f"; and {len(self.failed) - 5} more" if len(self.failed) > 5 else ""
        return f"{len(self.failed)} of {self.expectations} expectations not met: {shown}{more}"


def check_run(
    catalog_url: str, run_id: str, store: ArtifactStore, *, max_failed_share: float = 0.2, docs: Path | None = None
) -> CheckResult:
    """Check one run and, where `docs` names one, write a page of what was found.

    `max_failed_share`: share of the cohort's samples that may have failed. Raises CatalogError and ValueError (unknown run).
    """
    if not 0 <= max_failed_share <= 1:
        raise ValueError(f"max_failed_share is {max_failed_share:g}: it must be 0 to 1")
    if not re.fullmatch(r"[\w.-]+", run_id):
        raise ValueError(f'"{run_id}" is no run id')
    database = Database(catalog_url)
    samples, scores = _known(database, run_id)
    findings.note(database, run_id, store)
    with _ONE_AT_A_TIME, _quiet():
        found = list(_validate(database, run_id, samples, scores, max_failed_share))
    if docs is not None:
        datadocs.write(docs, title=f"Run {run_id}", findings=found)
    failed = [f"{finding.name} ({finding.found})" for finding in found if not finding.met]
    return CheckResult(success=not failed, expectations=len(found), failed=failed, docs_path=docs)


def _known(database: Database, run_id: str) -> tuple[int, list[str]]:
    """Return how many samples a run was asked for, and the names of the scores that its rules look at."""
    run, member, filter_ = tables.runs.c, tables.members.c, tables.filters.c
    with database.reading() as connection:
        samples = connection.execute(sa.select(run.samples).where(run.run_id == run_id)).scalar()
        if samples is None:
            raise ValueError(f'no run "{run_id}" in the catalog; see: dst status')
        used = sa.select(member.verdict_key).where(member.run_id == run_id, member.in_cohort == 1).distinct()
        rules = connection.scalars(sa.select(filter_.rules).where(filter_.verdict_key.in_(used))).all()
        named = {rule["score"] for listed in rules for rule in listed or ()}
        return int(samples), sorted(named & set(schema.score_names(connection)))


def _queries(run_id: str, scores: Sequence[str]) -> dict[str, str]:
    of_run = f"run_id = '{run_id}'"
    judged = " OR ".join(f'"{name}" IS NOT NULL' for name in scores) or "1 = 0"
    counts = ", ".join(
        f"(SELECT count(*) FROM verdicts d WHERE d.verdict_key = f.verdict_key AND {which}) AS {name}"
        for name, which in (("kept", "d.kept = 1"), ("dropped", "d.kept = 0"), ("unjudged", "d.kept IS NULL"))
    )
    return {
        "samples": f"SELECT s.*, CASE WHEN s.status = 'failed' THEN 1.0 ELSE 0.0 END AS failed FROM samples s "
        f"WHERE s.{of_run} AND s.in_cohort = 1",
        "made": f"SELECT s.*, CASE WHEN {judged} THEN 1 ELSE 0 END AS judged FROM samples s "
        f"WHERE {of_run} AND in_cohort = 1 AND status = 'made'",
        "verdicts": f"SELECT f.*, {counts} FROM filters f WHERE f.verdict_key IN "
        f"(SELECT m.verdict_key FROM members m WHERE m.{of_run} AND m.in_cohort = 1)",
        "files": f"SELECT * FROM file_checks WHERE {of_run}",
        "coverage": f"SELECT * FROM coverage_checks WHERE {of_run}",
    }


def _expectations(requested: int, max_failed_share: float) -> Iterator[tuple[str, str, Any]]:
    """Yield (table, name, expectation): the name says what is true when it is met."""
    import great_expectations.expectations as gxe

    def none_where(condition: str) -> Any:
        return gxe.UnexpectedRowsExpectation(unexpected_rows_query=f"SELECT * FROM {{batch}} WHERE {condition}")

    yield (
        "samples",
        f"the cohort has the {requested} samples that were asked for",
        gxe.ExpectTableRowCountToEqual(value=requested),
    )
    yield "samples", "each sample_id occurs once", gxe.ExpectColumnValuesToBeUnique(column="sample_id")
    yield "samples", "a sample is made or failed", gxe.ExpectColumnValuesToBeInSet(column="status", value_set=["made", "failed"])
    yield (
        "samples",
        "a failed sample says at which stage and why",
        none_where("status = 'failed' AND (stage IS NULL OR reason IS NULL)"),
    )
    yield (
        "samples",
        f"at most {max_failed_share:.0%} of the samples failed",
        gxe.ExpectColumnMeanToBeBetween(column="failed", min_value=0, max_value=max_failed_share),
    )
    for column in PROVENANCE:
        yield "made", f"{column} is never null", gxe.ExpectColumnValuesToNotBeNull(column=column)
    yield "made", "each image_key occurs once", gxe.ExpectColumnValuesToBeUnique(column="image_key")
    for column, bounds in POSE_RANGES.items():
        yield "made", f"{column} is never null", gxe.ExpectColumnValuesToNotBeNull(column=column)
        yield "made", f"{column} is in range", gxe.ExpectColumnValuesToBeBetween(column=column, **bounds)
    yield (
        "made",
        "boxes lie inside the image",
        none_where(
            "box_x0 IS NULL OR box_y0 IS NULL OR box_x1 IS NULL OR box_y1 IS NULL OR box_x0 > box_x1 OR box_y0 > box_y1 "
            "OR box_x0 < 0 OR box_y0 < 0 OR box_x1 > width - 1 OR box_y1 > height - 1"
        ),
    )
    yield "made", "an image is kept, dropped or not judged", gxe.ExpectColumnValuesToBeInSet(column="kept", value_set=[0, 1])
    yield "made", "an image that was decided has a score", none_where("kept IS NOT NULL AND judged = 0")
    yield "made", "an image with a score was decided", none_where("verdict_key IS NOT NULL AND kept IS NULL AND judged = 1")
    yield "made", "a dropped image says why", none_where("kept = 0 AND drop_reason IS NULL")
    yield (
        "verdicts",
        "a verdict counts what it decided",
        none_where("kept <> kept_images OR dropped <> dropped_images OR unjudged <> unjudged_images"),
    )
    yield "files", "every artifact is present", gxe.ExpectColumnValuesToBeInSet(column="present", value_set=[1])
    yield "files", "every file has its recorded digest", gxe.ExpectColumnValuesToBeInSet(column="digest_right", value_set=[1])
    yield "coverage", "poses were compared with the promise", gxe.ExpectTableRowCountToBeBetween(min_value=1)
    yield (
        "coverage",
        "poses are spread as the viewpoint spec promises",
        gxe.ExpectColumnValuesToBeBetween(column="p_value", min_value=LEAST_CHANCE),
    )
    yield "coverage", "no pose is outside the promised range", gxe.ExpectColumnValuesToBeInSet(column="outside", value_set=[0])
    yield "coverage", "no two views share a pose", gxe.ExpectColumnValuesToBeInSet(column="repeated", value_set=[0])


def _validate(
    database: Database, run_id: str, requested: int, scores: Sequence[str], max_failed_share: float
) -> Iterator[datadocs.Expectation]:
    """Let Great Expectations look at each table; yield what it found of each expectation."""
    # Before the import: it sends nothing anywhere.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = _source(context, database)
    suites: dict[str, list[Any]] = {}
    for table, name, expectation in _expectations(requested, max_failed_share):
        expectation.meta = {"name": name}
        suites.setdefault(table, []).append(expectation)
    for table, query in _queries(run_id, scores).items():
        # A batch is asked without a checkpoint and its stores, and first for yes and no alone: a third of the work.
        batch = source.add_query_asset(table, query=query).add_batch_definition_whole_table(run_id).get_batch()
        suite = gx.ExpectationSuite(name=table, expectations=suites[table])
        answers = {
            result.expectation_config.meta["name"]: result for result in batch.validate(suite, **_form("BOOLEAN_ONLY")).results
        }
        for expectation in suites[table]:
            answer = answers[expectation.meta["name"]]
            yield _told(table, answer if answer.success else batch.validate(expectation, **_form("SUMMARY")))


def _form(form: str) -> dict[str, Any]:
    return {"result_format": {"result_format": form}}


def _source(context: Any, database: Database) -> Any:
    # It reads addresses by the rules of the web, where a blank ends one; SQLAlchemy leaves that as it is.
    url = database.url.render_as_string(hide_password=False).replace(" ", "%20")
    if database.kind == "sqlite":
        return context.data_sources.add_sqlite("catalog", connection_string=url)
    return context.data_sources.add_sql("catalog", connection_string=url)


def _told(table: str, result: Any) -> datadocs.Expectation:
    config = result.expectation_config
    limits: Mapping[str, Any] = {name: value for name, value in config.kwargs.items() if name != "batch_id"}
    about = {"table": table, "name": str(config.meta["name"]), "met": bool(result.success), "expectation": config.type}
    examples = [repr(one.get("value")) for one in (result.result or {}).get("partial_unexpected_counts", ())[:5]]
    return datadocs.Expectation(**about, limits=limits, found=_found(result), examples=examples)


def _found(result: Any) -> str:
    # A check that could not be carried out has not been met; its message is Great Expectations' own.
    trouble = result.exception_info or {}
    messages = [trouble] if "exception_message" in trouble else list(trouble.values())
    raised = [info["exception_message"] for info in messages if info.get("raised_exception")]
    if raised:
        return f"could not be checked: {str(raised[0]).splitlines()[0]}"
    outcome = result.result
    if outcome.get("unexpected_count"):
        return f"{outcome['unexpected_count']} of {outcome['element_count']} rows"
    found = outcome.get("observed_value")
    if not isinstance(found, (int, float)):
        return "as promised"
    kind = result.expectation_config.type
    if kind == "expect_column_mean_to_be_between":
        # The one mean that is looked at is that of a yes and no: a share.
        return f"found {100 * found:.4g}%"
    return f"{found} rows" if kind == "unexpected_rows_expectation" else f"found {found:g}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Great Expectations logs what its result says anyway."""
    log = logging.getLogger("great_expectations")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
