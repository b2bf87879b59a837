"""A catalog with three classes, whose store holds a picture for each sample: what galleries show."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from storage.artifacts import ArtifactStore, Record
from storage.catalog.catalog import Catalog
from storage.images import to_png
from tests.catalog.records import History, cohort, verdict

HOSTILE = '</script><img src=x onerror="alert(1)">'
PICTURES = 360


class Painted:
    """A catalog with three classes, whose store holds a picture for each sample."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ArtifactStore(folder / "artifacts")
        self.catalog = Catalog(f"sqlite:///{folder / 'catalog.sqlite'}", self.store)
        self.catalog.migrate()
        for class_name in ("car", "chair", "mug"):
            made = cohort(class_name, models=4, views=PICTURES // 12)
            stored: list[Record] = []
            for one in made:
                for stage, name in (("render", "rgba.png"), ("control", "control.png"), ("image", "image.png")):
                    one.records[stage] = self.painted(one, stage, name)
                stored += one.records.values()
            judged = verdict(made, class_name)
            run_id = self.catalog.start_run(class_name=class_name, recipe="r", recipe_specs={}, samples=len(made))
            self.catalog.index([*stored, *judged.put(self.store)])
            self.catalog.set_cohort(class_name, "r", run_id, [one.member(judged.key) for one in made])
            self.catalog.finish_run(run_id, status="complete")
        with self.catalog.database.writing() as connection:
            connection.exec_driver_sql("UPDATE cad_models SET cad_name = ? WHERE class_name = 'mug'", (HOSTILE,))
            connection.exec_driver_sql("UPDATE captions SET prompt = ? WHERE class_name = 'mug'", (HOSTILE,))

    def painted(self, history: History, stage: str, name: str) -> Record:
        """Store a picture under a made-up record's key; return the record as it is stored."""
        rng = history.sample.rng("picture")
        channels = 4 if stage == "render" else 3
        picture = np.full((64, 64, channels), rng.integers(0, 256, 4)[:channels], np.uint8)
        record = dataclasses.replace(history.records[stage], files={})
        return self.store.put(record, {name: to_png(picture)}).record
