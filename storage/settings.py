"""Settings: where things are and how much of the machine may be used. The only reader of the environment.

What changes pixels is not here (see flows/recipes.py): the same recipe makes the same samples under any settings.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from storage.artifacts import ArtifactStore
from storage.blobs.door import open_blobs
from storage.catalog import address
from storage.readcache import ReadCache


class Settings(BaseSettings):
    """Read from `DST_*` environment variables, then from `.env` in the working folder."""

    model_config = SettingsConfigDict(env_prefix="DST_", extra="ignore", frozen=True)

    home: Path = Field(default=Path("dst-data"), description="Folder for everything that is made.")
    store_url: str = Field(
        default="", description="Where artifacts lie, such as file:///srv/artifacts; empty: `artifacts` in the home folder."
    )
    store_cache_gb: float = Field(
        default=4, ge=0, description="Gigabytes that are kept in the home folder of what was read from a bucket; 0: nothing."
    )
    catalog_url: str = Field(default="", description="SQLAlchemy URL of the catalog; empty: SQLite in the home folder.")
    device: str = Field(default="auto", description="torch device of the generator: auto, cpu, cuda, cuda:1, mps.")
    workers: int = Field(default=0, ge=0, description="Renderer processes; 0: one for each core.")
    threads: int = Field(default=0, ge=0, description="torch threads; 0: one for each core.")
    batch: int = Field(default=16, ge=1, description="Images the generator makes at once (part of byte-for-byte identity).")
    mesh_timeout_s: float = Field(default=300.0, gt=0, description="Time limit for one CAD model in one process, seconds.")
    max_faces: int = Field(default=2_000_000, gt=0, description="Meshes with more faces are refused at the door.")
    llm_url: str = Field(
        default="", description="OpenAI-compatible server for captions, such as http://127.0.0.1:8000/v1; empty: OpenAI's own."
    )
    llm_key: SecretStr = Field(
        default=SecretStr(""), validation_alias="OPENAI_API_KEY", description="What that server asks for; empty: nothing."
    )
    llm_connections: int = Field(default=8, ge=1, description="Captions asked of that server at the same time.")
    llm_price_in: float = Field(default=0.0, ge=0, description="What a million tokens asked of that server cost, for the record.")
    llm_price_out: float = Field(default=0.0, ge=0, description="What a million tokens answered by it cost.")
    prefect_api_url: str = Field(
        default="", description="A running Prefect server; empty: PREFECT_API_URL, else one started for the run."
    )
    cluster: str = Field(
        default="",
        description="Address of a Dask or Ray cluster for runs on one; empty: one on this machine, started for the run.",
    )
    cluster_workers: int = Field(default=0, ge=0, description="Worker processes of one that is started; 0: one for each core.")
    watch: str = Field(
        default="", description="Folders looked at for new CAD models, separated as in PATH; empty: `watch` in the home folder."
    )
    watch_samples: int = Field(default=200, ge=1, description="Samples of a watched class that was never run before.")
    watch_recipe: str = Field(default="embedded", description="Recipe of such a class: ours, or one of the home's `recipes`.")
    watch_settle_s: float = Field(default=5.0, ge=0, description="A watched file counts when nobody has written it for so long.")
    scan_cron: str = Field(default="*/5 * * * *", description="When watched folders are looked at, as cron says it.")
    history_days: float = Field(
        default=30.0, ge=0.1, description="Days that Prefect keeps ended runs with their logs and artifacts (images stay)."
    )
    timezone: str = Field(default="", description="Time zone of schedules, such as Europe/Berlin; empty: this machine's.")
    notify_url: SecretStr = Field(
        default=SecretStr(""), description="Webhook that is told of failed and invalid runs; empty: nobody is."
    )
    files_url: str = Field(
        default="", description="Where reports and images can be opened in a browser; `dst serve` sets it for its runs."
    )
    server_auth: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="PREFECT_SERVER_API_AUTH_STRING",
        description="name:password that the Prefect server asks for; needed when it listens to other machines.",
    )
    api_auth: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="PREFECT_API_AUTH_STRING",
        description="name:password with which this machine asks the Prefect server.",
    )

    @field_validator("home", "device", mode="before")
    @classmethod
    def _said(cls, value: Any) -> Any:
        # An empty path is the working folder, which nobody means who writes nothing.
        if isinstance(value, str) and not value.strip():
            raise ValueError("is empty: say something, or leave the line out")
        return value

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *given: PydanticBaseSettingsSource, **sources: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read `.env` ourselves: in another encoding than UTF-8 its lines would be passed over, or end in a decoder's words."""
        check_encoding(Path(".env"))
        # With the mark that Windows puts before UTF-8, the first name would be another.
        dotenv = DotEnvSettingsSource(settings_cls, env_file=".env", env_file_encoding="utf-8-sig")
        return sources["init_settings"], sources["env_settings"], dotenv

    @property
    def root(self) -> Path:
        """The home folder, absolute."""
        return self.home.expanduser().absolute()

    @cached_property
    def store(self) -> ArtifactStore:
        if not self.store_url:
            return ArtifactStore(self.root / "artifacts")
        blobs = open_blobs(self.store_url)
        far = blobs.folder is None and self.store_cache_gb > 0
        return ArtifactStore(blobs, ReadCache(self.root / "read-cache", int(self.store_cache_gb * 1e9)) if far else None)

    @property
    def catalog(self) -> str:
        """The catalog's SQLAlchemy URL."""
        return self.catalog_url or address.of_file(self.root / "catalog.sqlite")

    @property
    def watched(self) -> list[Path]:
        """The folders that are looked at for new CAD models, absolute."""
        named = [Path(name).expanduser().absolute() for name in self.watch.split(os.pathsep) if name.strip()]
        return named or [self.root / "watch"]

    @property
    def cores(self) -> int:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @property
    def renderer_workers(self) -> int:
        return self.workers or self.cores

    @property
    def cluster_size(self) -> int:
        """Worker processes of a cluster that is started on this machine."""
        return self.cluster_workers or self.cores

    @property
    def torch_threads(self) -> int:
        return self.threads or self.cores


def check_encoding(path: Path) -> None:
    """Raise ValueError, in one line, for a file of settings that is there and not in UTF-8."""
    if not path.is_file():
        return
    data = path.read_bytes()
    try:
        data.decode()
        wrong = b"\0" in data
    except UnicodeDecodeError:
        wrong = True
    if wrong:
        wide = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data else "another encoding than UTF-8"
        raise ValueError(f"{path.absolute()} is in {wide}: save it as UTF-8 and start again")
