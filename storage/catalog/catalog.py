"""The catalog: one index over everything that was made, and the only door to it.

Enters: records from the artifact store, registrations of CAD models, runs and the cohorts they end with. Leaves: rows, and
answers to plain SQL. Given the store, it also keeps there what no artifact says (see storage.catalog.journal), so that `rebuild`
restores everything. Each subject has a room of its own, with its methods and its SQL: see the modules named below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage.catalog.artifacts import Artifacts
from storage.catalog.cad_models import CadModels
from storage.catalog.cohorts import Cohorts
from storage.catalog.decisions import Decisions
from storage.catalog.others import Others
from storage.catalog.quarantine import Quarantine
from storage.catalog.query import query
from storage.catalog.releases import Releases
from storage.catalog.runs import RunGoing, Runs
from storage.catalog.tags import Tags

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Catalog", "RunGoing"]


class Catalog(Artifacts, CadModels, Quarantine, Runs, Cohorts, Releases, Others, Tags, Decisions):
    """The catalog at a SQLAlchemy URL (SQLite file or Postgres). `store`: where its journal is kept; None keeps none."""

    @property
    def exists(self) -> bool:
        """Whether there is a catalog at the URL."""
        return self.database.exists

    def query(self, sql: str) -> pd.DataFrame:
        """Return the rows of one reading SQL statement. Raises CatalogError, in one line, for everything else."""
        return query(self.database, sql)
