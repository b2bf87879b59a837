"""`dst evaluate generator | readouts`: figures of a generator, and the networks that read its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number

from models.evaluation.spec import EvaluationSpec

app = cyclopts.App(name="evaluate", help="Measure how well a generator shows what it is asked for.")


@app.command
def generator(
    *,
    model: Annotated[str, Parameter(help="The generator: embedded, or the folder of a pipeline.")] = "embedded",
    samples: Annotated[
        int, Parameter(help="Views of held-out CAD models of the trained classes.", validator=Number(gte=8))
    ] = EvaluationSpec().samples,
    sweep: Annotated[
        int,
        Parameter(
            help="Views that each setting of the sweep and each sampler paints twice; 0 leaves them out.", validator=Number(gte=0)
        ),
    ] = EvaluationSpec().sweep,
    cad: Annotated[Path | None, Parameter(help="Folder of real CAD models, in subfolders named by class.")] = None,
    orientations: Annotated[
        Path | None, Parameter(help="TOML file with up and front for each cad_id, as for dst cad add.")
    ] = None,
    out: Annotated[Path | None, Parameter(help="Folder for figures.json, README.md, sweep.png, sheet.jpg.")] = None,
    readouts: Annotated[Path | None, Parameter(help="File of readouts; default: your own, else the project's.")] = None,
    control_scale: Annotated[float | None, Parameter(help="Weight of the edges; default: the recipe's.")] = None,
    guidance: Annotated[float | None, Parameter(help="Guidance scale; default: the recipe's.")] = None,
    steps: Annotated[int | None, Parameter(help="Denoising steps; default: the recipe's.")] = None,
    scheduler: Annotated[str | None, Parameter(help="Scheduler; default: the recipe's.")] = None,
    trained: Annotated[
        list[Path] | None, Parameter(help="Folder of the training that made the weights, for the model card; may be repeated.")
    ] = None,
    pictures: Annotated[Path | None, Parameter(help="Folder of the shards it was trained on, for the model card.")] = None,
) -> None:
    """Measure a generator on CAD models it has never seen: edges, pose, class, colour, scene, settings, speed; write its card.

    Stopped or killed, the same command goes on where it was: no picture is painted twice.

    Example: dst evaluate generator --samples 64 --sweep 0
    """
    from flows.prefect_env import own_server, prepare
    from storage.settings import Settings

    for path in (cad, orientations, readouts, *(trained or [])):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
    asked = {"control_scale": control_scale, "guidance": guidance, "steps": steps, "scheduler": scheduler}
    prepare(Settings())
    from flows.commands.terminal import watched
    from flows.evaluate import evaluate
    from models.evaluation.card import tables

    own_server(Settings())
    with watched():
        figures: dict[str, Any] = evaluate(
            model=model,
            samples=samples,
            sweep=sweep,
            cad=str(cad or ""),
            orientations=str(orientations or ""),
            readouts=str(readouts or ""),
            out=str(out or ""),
            setting={name: value for name, value in asked.items() if value is not None},
            trained=[str(folder) for folder in trained or []],
            pictures=str(pictures or ""),
        )
    print(tables(figures))
    print(f"\nfigures, card, plot and sheet in {figures['folder']}")


@app.command
def readouts(
    *,
    shards: Annotated[int, Parameter(help="Shards of 128 pictures made for the readouts.", validator=Number(gte=1))] = 44,
    pictures: Annotated[
        list[Path] | None, Parameter(help="Another folder of shards to learn from as well; may be repeated.")
    ] = None,
    classes: Annotated[
        list[str] | None, Parameter(name="--class", help="A bundled class to tell apart; default: the trained ones.")
    ] = None,
    epochs: Annotated[int, Parameter(help="Passes over the pictures.", validator=Number(gte=1))] = 40,
    out: Annotated[Path | None, Parameter(help="Where to write them; default: in the home folder.")] = None,
) -> None:
    """Train the networks that read class, pose, colour and scene in pictures, on rendered pictures only.

    The project brings those of the embedded generator's classes; this makes your own, which evaluations then use.

    Example: dst evaluate readouts --class car --class cup --shards 20 --epochs 20
    """
    from flows.prefect_env import own_server, prepare
    from storage.settings import Settings

    prepare(Settings())
    from flows.commands.terminal import watched
    from flows.evaluate import train_readouts

    own_server(Settings())
    with watched():
        made = train_readouts(
            shards=shards,
            pictures=[str(folder) for folder in pictures or []],
            classes=list(classes or []),
            epochs=epochs,
            out=str(out or ""),
        )
    print(f"readouts in {made}")
