"""What a run must fulfil before it is called complete, checked by Great Expectations on the catalog itself.

Enters: a run whose cohort is in the catalog, and the store. Leaves: a CheckResult that names every failed expectation, and Data
Docs that open without internet. Great Expectations is imported on first use: it takes seconds, which no light command should pay.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage import datadocs
from storage.artifacts import ArtifactStore
from storage.catalog import findings
from storage.catalog.database import Database

LEAST_CHANCE = 1e-5
"""Poses less likely than this under the viewpoint spec's promise are no accident."""

PROVENANCE = (
    "sample_id", "class_name", "cad_id", "source", "keywords", "view_index", "draw_index", "prompt", "seed", "attempt",
    "model_id", "model_revision", "recipe", "run_id", "cad_key", "render_key", "edge_key", "caption_key", "image_key",
    "render_spec", "edge_spec", "caption_spec", "image_spec", "sha256", "file",
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
    """The first page of the Data Docs, where they were asked for."""

    @property
    def reason(self) -> str | None:
        """One line for the run's row: why it is invalid."""
        if self.success:
            return None
        shown = "; ".join(self.failed[:5])
        more = f"; and {len(self.failed) - 5} more" if len(self.failed) > 5 else ""
        return f"{len(self.failed)} of {self.expectations} expectations not met: {shown}{more}"


def check_run(
    catalog_url: str,
    run_id: str,
    store: ArtifactStore,
    *,
    max_failed_share: float = 0.2,
    docs: bool = True,
) -> CheckResult:
    """Check one run and, with `docs`, write its Data Docs into `validation/<run_id>` beside the store.

    `max_failed_share`: share of the cohort's samples that may have failed. Raises CatalogError and ValueError (unknown run).
    """
    if not 0 <= max_failed_share <= 1:
        raise ValueError(f"max_failed_share is {max_failed_share:g}: it must be 0 to 1")
    if not re.fullmatch(r"[\w.-]+", run_id):
        raise ValueError(f'"{run_id}" is no run id')
    database = Database(catalog_url)
    requested = _requested(database, run_id)
    findings.note(database, run_id, store)
    folder = store.root.parent / "validation" / run_id
    with _ONE_AT_A_TIME, _quiet(), tempfile.TemporaryDirectory(prefix="dst-docs-") as site:
        found = _validate(database, run_id, requested, max_failed_share, Path(site) if docs else None)
        if docs:
            datadocs.make_offline(Path(site), title=f"Run {run_id}", verdicts=found)
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(site, folder)
    failed = [f"{name} ({what})" for name, met, what in found if not met]
    return CheckResult(
        success=not failed, expectations=len(found), failed=failed, docs_path=folder / "index.html" if docs else None
    )


def _requested(database: Database, run_id: str) -> int:
    from sqlalchemy import select

    from storage.catalog.tables import runs

    with database.reading() as connection:
        samples = connection.execute(select(runs.c.samples).where(runs.c.run_id == run_id)).scalar()
    if samples is None:
        raise ValueError(f'no run "{run_id}" in the catalog; see: dst status')
    return int(samples)


def _queries(run_id: str) -> dict[str, str]:
    of_run = f"run_id = '{run_id}'"
    return {
        "samples": f"SELECT s.*, CASE WHEN s.status = 'failed' THEN 1.0 ELSE 0.0 END AS failed FROM samples s "
        f"WHERE s.{of_run} AND s.in_cohort = 1",
        "made": f"SELECT * FROM samples WHERE {of_run} AND in_cohort = 1 AND status = 'made'",
        "files": f"SELECT * FROM file_checks WHERE {of_run}",
        "coverage": f"SELECT * FROM coverage_checks WHERE {of_run}",
    }


def _expectations(requested: int, max_failed_share: float) -> Iterator[tuple[str, str, Any]]:
    """Yield (table, name, expectation): the name says what is true when it is met."""
    import great_expectations.expectations as gxe

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
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query="SELECT * FROM {batch} WHERE status = 'failed' AND (stage IS NULL OR reason IS NULL)"
        ),
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
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query="SELECT * FROM {batch} "
            "WHERE box_x0 IS NULL OR box_y0 IS NULL OR box_x1 IS NULL OR box_y1 IS NULL OR box_x0 > box_x1 OR box_y0 > box_y1 "
            "OR box_x0 < 0 OR box_y0 < 0 OR box_x1 > width - 1 OR box_y1 > height - 1"
        ),
    )
    yield (
        "made",
        "a filter that saw the cohort judged every image",
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query="SELECT * FROM {batch} "
            "WHERE verdict_key IS NOT NULL AND (score IS NULL OR threshold IS NULL OR kept IS NULL OR kept NOT IN (0, 1))"
        ),
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
    database: Database, run_id: str, requested: int, max_failed_share: float, site: Path | None
) -> list[tuple[str, bool, str]]:
    """Run everything through a checkpoint; return (name, met, what was found) for each expectation."""
    # Before the import: it sends nothing anywhere.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    context.delete_data_docs_site(site_name="local_site")
    source = _source(context, database)
    suites: dict[str, list[Any]] = {}
    for table, name, expectation in _expectations(requested, max_failed_share):
        expectation.meta = {"name": name}
        expectation.notes = name
        suites.setdefault(table, []).append(expectation)
    definitions = []
    for table, query in _queries(run_id).items():
        batch = source.add_query_asset(table, query=query).add_batch_definition_whole_table(run_id)
        suite = context.suites.add(gx.ExpectationSuite(name=table, expectations=suites[table]))
        definitions.append(context.validation_definitions.add(gx.ValidationDefinition(name=table, data=batch, suite=suite)))
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=run_id,
            validation_definitions=definitions,
            result_format={"result_format": "SUMMARY"},
        )
    )
    results = checkpoint.run().run_results.values()
    if site is not None:
        # Built once for all tables; the checkpoint's own action would build the site's index once for each.
        context.add_data_docs_site(site_name="run", site_config=_site(site))
        context.build_data_docs(site_names=["run"])
    return [_told(result) for table in results for result in table.results]


def _site(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
        "show_how_to_buttons": False,
    }


def _source(context: Any, database: Database) -> Any:
    url = database.url.render_as_string(hide_password=False)
    if database.kind == "sqlite":
        return context.data_sources.add_sqlite("catalog", connection_string=url)
    return context.data_sources.add_sql("catalog", connection_string=url)


def _told(result: Any) -> tuple[str, bool, str]:
    name = str(result.expectation_config.meta["name"])
    # A check that could not be carried out has not been met; its message is Great Expectations' own.
    trouble = result.exception_info or {}
    messages = [trouble] if "exception_message" in trouble else list(trouble.values())
    raised = [info["exception_message"] for info in messages if info.get("raised_exception")]
    if raised:
        return name, False, f"could not be checked: {str(raised[0]).splitlines()[0]}"
    outcome = result.result
    if outcome.get("unexpected_count"):
        return name, bool(result.success), f"{outcome['unexpected_count']} of {outcome['element_count']} rows"
    found = outcome.get("observed_value")
    if result.expectation_config.type == "unexpected_rows_expectation":
        return name, bool(result.success), f"{found} rows" if found else "as promised"
    return name, bool(result.success), f"found {found:g}" if isinstance(found, (int, float)) else "as promised"


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
