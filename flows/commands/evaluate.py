"""`dst evaluate generator | filter | ensemble | readouts`: what generators and filters are worth, and what is fitted for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number

from models.evaluation.filters.spec import TAUGHT_BY, FiltersSpec
from models.evaluation.spec import EvaluationSpec
from models.training.spec import Learned
from storage.settings import Settings

app = cyclopts.App(name="evaluate", help="Measure how well a generator shows what it is asked for, and what filters are worth.")


@app.command
def generator(
    *,
    model: Annotated[str, Parameter(help="The generator: embedded, or the folder of a pipeline.")] = "embedded",
    control_model: Annotated[Path | None, Parameter(help="Folder of another ControlNet for it, such as dst train makes.")] = None,
    control: Annotated[Learned, Parameter(help="What the ControlNet has learned to obey.")] = "edges",
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
    beside: Annotated[Path | None, Parameter(help="figures.json of another generator on the same views, to show beside.")] = None,
    named: Annotated[
        Path | None,
        Parameter(help='What somebody says of the pictures in look.jpg, a line each: "red car, behind left"; - for no side.'),
    ] = None,
) -> None:
    """Measure a generator on CAD models it has never seen: edges, pose, class, colour, scene, settings, speed; write its card.

    Stopped or killed, the same command goes on where it was: no picture is painted twice.

    Example: dst evaluate generator --samples 64 --sweep 0
    """
    from flows.prefect_env import own_server, prepare

    for path in (control_model, cad, orientations, readouts, beside, named, *(trained or [])):
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
            control_model=str(control_model or ""),
            control=control,
            samples=samples,
            sweep=sweep,
            cad=str(cad or ""),
            orientations=str(orientations or ""),
            readouts=str(readouts or ""),
            out=str(out or ""),
            setting={name: value for name, value in asked.items() if value is not None},
            trained=[str(folder) for folder in trained or []],
            pictures=str(pictures or ""),
            beside=str(beside or ""),
            named=str(named or ""),
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


@app.command
def filter(
    class_name: Annotated[str, Parameter(name="CLASS", help="With --tags: only this class.")] = "",
    /,
    *,
    tags: Annotated[
        bool, Parameter(help="Measure the scores that are stored against what people said of the images.", negative="")
    ] = False,
    classes: Annotated[
        list[str] | None, Parameter(name="--class", help="A bundled class; may be repeated. Default: airplane, car, chair.")
    ] = None,
    cad_models: Annotated[
        int, Parameter(help="CAD models of each class, which no training saw.", validator=Number(gte=1))
    ] = FiltersSpec().cad_models,
    views: Annotated[int, Parameter(help="Views of each CAD model.", validator=Number(gte=1))] = FiltersSpec().views,
    rates: Annotated[
        list[float] | None,
        Parameter(name="--rate", help="Share of images that fail, a set for each; may be repeated. Default: 0.05, 0.1, 0.2."),
    ] = None,
    seed: Annotated[int, Parameter(help="Another seed plants other failures.", validator=Number(gte=0))] = 0,
    judges: Annotated[
        list[str] | None, Parameter(name="--judge", help="A row of the table; may be repeated. Default: all.")
    ] = None,
    panel: Annotated[
        bool, Parameter(help="Find the generator's own failures, by a panel of readouts that is trained first.")
    ] = True,
    pictures: Annotated[
        Path | None, Parameter(help="Folder of shards that the panel learns from, such as a training's; default: made here.")
    ] = None,
    official: Annotated[
        bool, Parameter(help="With the published filter at its full size (ResNet-50, 256 px): for a GPU.", negative="")
    ] = False,
    out: Annotated[Path | None, Parameter(help="Folder for figures.json, README.md and plots.")] = None,
    export: Annotated[Path | None, Parameter(help="Write the benchmark as a package for others into this folder.")] = None,
) -> None:
    """Measure what filters are worth: on images with planted failures, or (--tags) on your own, by what people said of them.

    Stopped or killed, the same command goes on where it was.

    Example: dst evaluate filter --cad-models 8 --rate 0.2
    """
    from flows.prefect_env import own_server, prepare
    from storage.catalog.catalog import Catalog

    settings = Settings()
    if tags:
        from models.evaluation.filters.card import overall
        from tasks.evaluate_filter import tagged

        told = tagged(Catalog(settings.catalog, settings.store), class_name)
        print(f"{told['images']} tagged images: {', '.join(f'{count} {tag}' for tag, count in told['tags'].items())}\n")
        print(overall(told["rows"]))
        return
    if class_name:
        raise ValueError("a class of yours is measured by its tags: say --tags; bundled classes are chosen by --class")
    prepare(settings)
    from flows.commands.terminal import watched
    from flows.evaluate_filter import evaluate_filter
    from models.evaluation.filters.card import tables

    own_server(settings)
    with watched():
        figures: dict[str, Any] = evaluate_filter(
            classes=classes,
            cad_models=cad_models,
            views=views,
            rates=rates,
            seed=seed,
            judges=judges,
            panel=panel,
            pictures=str(pictures or ""),
            official=official,
            out=str(out or ""),
            export=str(export or ""),
        )
    print(tables(figures))
    print(f"\nfigures, report and plots in {figures['folder']}")
    if figures["package"]:
        print(f"package in {figures['package']}")


@app.command
def ensemble(
    *,
    classes: Annotated[
        list[str] | None, Parameter(name="--class", help="A bundled class to fit on; default: those of the bundled weights.")
    ] = None,
    cad_models: Annotated[int, Parameter(help="CAD models of each class.", validator=Number(gte=1))] = TAUGHT_BY.cad_models,
    views: Annotated[int, Parameter(help="Views of each CAD model.", validator=Number(gte=1))] = TAUGHT_BY.views,
    out: Annotated[Path | None, Parameter(help="Where to write the weights; default: in the home folder.")] = None,
) -> None:
    """Fit the judge `ensemble` on planted failures; each class is judged by what was fitted on the others.

    Killed, it goes on where it was: what was painted, taught and judged is kept in the home folder.

    Example: dst evaluate ensemble --class bus --class boat --views 6 --out weights.json
    """
    import dataclasses

    from flows.commands.terminal import print_rows
    from models.evaluation.filters import fitting
    from models.evaluation.painting import Painter
    from models.verdict import weighing

    settings = Settings()
    folder = settings.root / "evaluations" / "ensemble"
    spec = dataclasses.replace(TAUGHT_BY, classes=tuple(classes or TAUGHT_BY.classes), cad_models=cad_models, views=views)
    painter = Painter(folder / "painted", device=settings.device, threads=settings.torch_threads, batch=settings.batch)
    found = fitting.examples(spec, painter, folder / "judged", settings.torch_threads)
    said = "".join(f" --class {name}" for name in classes or [])
    weights = fitting.fit(found, f"dst evaluate ensemble{said} --cad-models {cad_models} --views {views}")
    path = out or folder / weighing.BUNDLED.name
    path.parent.mkdir(parents=True, exist_ok=True)
    weighing.save(weights, path)
    held: dict[str, Any] = dict(weights.facts["held_out"])
    rows = {"all": held["all"], **held["by_class"], **held["by_kind"]}
    print_rows([{"failures": name, **{key: f"{value:.3f}" for key, value in row.items()}} for name, row in rows.items()])
    print(f"the weights are in {path}; those of the project are {weighing.BUNDLED}")
