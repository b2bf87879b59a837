"""Where work is done: the store, the catalog, the home folder, and how much of the machine may be used.

A flow makes it of the settings and hands it to every task. Nothing in it changes a byte of what is made, so no key holds it, and
a task that runs in another process or on another machine needs no environment of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from models.caption.protocol import Means
from storage.answers import Answers
from storage.artifacts import ArtifactStore
from storage.catalog.catalog import Catalog
from storage.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where work is done."""

    home: Path
    """Folder of reports, checks and previews, absolute."""
    store: ArtifactStore
    """Where artifacts are kept."""
    catalog_url: str
    """SQLAlchemy URL of the catalog."""
    device: str = "auto"
    """torch device of generators and judges."""
    threads: int = 1
    """torch threads."""
    cores: int = 1
    """Processor cores that may be used."""
    batch: int = 16
    """Images the generator makes at once."""
    renderers: int = 1
    """Renderer processes, and slots of this machine's renderer limit."""
    sharing: int = 1
    """Processes of this machine that share the renderers out among themselves."""
    mesh_timeout_s: float = 300.0
    """Time limit for one CAD model in one process."""
    max_faces: int = 2_000_000
    """CAD models with more faces are refused."""
    llm_url: str = ""
    """OpenAI-compatible server for captions; empty: OpenAI's own."""
    llm_key: SecretStr = field(default_factory=lambda: SecretStr(""))
    """What that server asks for."""
    llm_connections: int = 8
    """Captions asked of it at the same time."""
    llm_prices: tuple[float, float] = (0.0, 0.0)
    """What a million tokens cost, asked and answered."""
    files_url: str = ""
    """Where a browser opens files of the home; empty: on this machine's disk."""
    run: str = ""
    """The run that the work is part of: what dies in one run is not held against the next."""

    @classmethod
    def of(cls, settings: Settings, run: str = "") -> Place:
        """Return the place that the settings describe."""
        return cls(
            home=settings.root,
            store=settings.store,
            catalog_url=settings.catalog,
            device=settings.device,
            threads=settings.torch_threads,
            cores=settings.cores,
            batch=settings.batch,
            renderers=settings.renderer_workers,
            mesh_timeout_s=settings.mesh_timeout_s,
            max_faces=settings.max_faces,
            llm_url=settings.llm_url,
            llm_key=settings.llm_key,
            llm_connections=settings.llm_connections,
            llm_prices=(settings.llm_price_in, settings.llm_price_out),
            files_url=settings.files_url,
            run=run,
        )

    @property
    def means(self) -> Means:
        """What captioners may work with here."""
        return Means(
            device=self.device,
            threads=self.threads,
            batch=self.batch,
            url=self.llm_url,
            key=self.llm_key.get_secret_value(),
            connections=self.llm_connections,
            prices=self.llm_prices,
            answered=Answers(self.home / "captions"),
        )

    @property
    def catalog(self) -> Catalog:
        """The catalog, with its journal in the store."""
        return Catalog(self.catalog_url, self.store)
