"""What filters are worth, without Prefect: sets, judges, table.

    python -m tests.benchmarks.filters FOLDER [CAD_MODELS [VIEWS [RATE ...]]]

Enters: a folder in which pictures and scores are kept (the same command goes on in it), and how large the sets are. Leaves: the
tables on the terminal, figures.json and the plots in the folder. The generator's own failures are not looked for: that takes the
panel, which `dst evaluate filter` trains.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from models.evaluation.filters import card, judging, plot, sets, table
from models.evaluation.filters.spec import FiltersSpec
from models.evaluation.painting import Painter


def main() -> None:
    folder, *sizes = sys.argv[1:]
    out = Path(folder)
    usual = FiltersSpec()
    spec = FiltersSpec(
        cad_models=int(sizes[0]) if sizes else usual.cad_models,
        views=int(sizes[1]) if sizes[1:] else usual.views,
        rates=tuple(map(float, sizes[2:])) or usual.rates,
    )
    made = sets.build(spec, Painter(out / "pictures", threads=1))
    rows, judged = judging.rows(), {}
    for row in [row for row in rows if not row.spec.reads] + [row for row in rows if row.spec.reads]:
        began = time.monotonic()
        judged[row.name] = [judging.judge(row.spec, one, out / "judged") for one in made]
        print(f"{row.name}: {len(made)} sets, {time.monotonic() - began:.0f} s", flush=True)
    figures = table.figures(spec, made, rows, judged, {})
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    (out / card.PLOT).write_bytes(plot.kinds(figures))
    (out / card.COSTS).write_bytes(plot.cost(figures))
    print(card.tables(figures))


if __name__ == "__main__":
    main()
