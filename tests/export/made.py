"""Two small classes, really rendered and painted, in a home of their own: what the tests of exports release.

    python -m tests.export.made HOME

Every stage's own code runs, without a Prefect server. The generator has random weights, so its pictures are noise; renders,
masks, depth and poses are real. Cars are seen from everywhere, cameras rolled; chairs from so near that some reach beyond the
picture.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

SEEDS = {"car": (30_000, 30_001), "garden chair": (30_010, 30_011)}
SAMPLES = 6
VERDICT = {"car": -1.0, "garden chair": 0.99}
"""Images with less fidelity are dropped: all cars are kept, all chairs are not. Their poses are too few to be judged."""
EVERYWHERE = {"polar": "sphere", "polar_range_deg": [0.0, 180.0], "inplane_range_deg": [-30.0, 30.0]}
NEAR = {"distance": 1.1, "distance_sd": 0.0, "inplane_range_deg": [-30.0, 30.0]}
RENDER: dict[str, dict[str, Any]] = {
    "car": {"viewpoint": EVERYWHERE},
    "garden chair": {"viewpoint": NEAR, "allow_truncation": True},
}


def make(home: Path) -> None:
    """Fill `home` with a catalog and a store."""
    from flows import ending, recipes, runs
    from models.cad import parametric
    from storage.keys import plain
    from storage.settings import Settings
    from tasks import stages
    from tasks.catalog import _members, records
    from tasks.intake import model
    from tasks.plan.place import Place
    from tests.flows.conftest import small

    place = Place.of(Settings())
    catalog, store = place.catalog, place.store
    for class_name, seeds in SEEDS.items():
        for seed in seeds:
            path = home / "cad" / f"{class_name}-{seed}.glb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(parametric.glb(class_name.split()[-1], seed))
            model.register(place, path, class_name, keywords=["small"], licence="CC0" if seed % 2 else "CC BY 4.0")
        overrides = small(
            {
                "render": {"resolution": 128, **RENDER[class_name]},
                "image": {"resolution": 128},
                "verdict": {"rules": {"control": {"threshold": VERDICT[class_name]}}},
            }
        )
        cohort = runs.cohort(place, class_name, SAMPLES, recipes.resolve("embedded", overrides))
        run_id = catalog.start_run(
            class_name=class_name, recipe=cohort.recipe.name, recipe_specs=plain(cohort.recipe), samples=SAMPLES
        )
        place = Place.of(Settings(), run=run_id)
        walked = [stage.run() for stage in stages.OF_A_SAMPLE if stage.name != "cad"]
        for task in walked:
            for shard in cohort.shards():
                task.fn(place, shard, cohort.recipe)
        for stage in stages.OF_A_COHORT:
            for part in stage.parts(cohort.recipe):
                stage.run().fn(place, cohort, part)
        judged = cohort.judged(cohort.made(store))
        catalog.index(records(cohort, store, judged))
        catalog.set_cohort(class_name, cohort.recipe.name, run_id, list(_members(cohort, store, judged["verdict", ""])))
        catalog.finish_run(run_id, status="complete", **ending.credits_of(catalog, run_id, {}))


if __name__ == "__main__":
    os.environ |= {"DST_HOME": sys.argv[1], "DST_CATALOG_URL": "", "DST_THREADS": "1", "DST_WORKERS": "1", "DST_BATCH": "4"}
    make(Path(sys.argv[1]))
