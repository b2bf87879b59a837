"""`dst`: a thin launcher over the flows. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
import pydantic
from cyclopts import Parameter
from cyclopts.validators import Number

from flows.commands import cad, catalog, evaluate, imports, models
from flows.commands import export as export_commands
from flows.commands import tag as tag_commands
from flows.runners import RunnerName
from models.training.spec import Learned
from storage.settings import Settings
from storage.stages import OfASample

app = cyclopts.App(
    suppress_keyboard_interrupt=False,
    name="dst",
    help="CAD models in; filtered, traceable images with exact 3D annotations out.",
    version="0.1.0",
)
app.command(cad.app)
app.command(imports.app)
app.command(evaluate.app)
app.command(models.app)
app.command(export_commands.app)
app.command(tag_commands.app)
app.command(catalog.app)
app.command(catalog.prune)

_OF_A_PLACE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENAMETOOLONG,
}
"""Errors that are a folder's or a disk's, which a person can put right; any other is a bug of ours."""

_ANY, _SOME, _PORT = Number(gte=0), Number(gte=1), Number(gte=0, lte=65535)


@app.command
def demo(
    *,
    samples: Annotated[int, Parameter(help="Samples of each of the three classes.", validator=_SOME)] = 32,
    home: Annotated[Path | None, Parameter(help="Where to put everything; default: DST_HOME or ./dst-data.")] = None,
) -> None:
    """Do the main job on bundled CAD models with the embedded generator, then write a report.

    Example: dst demo
    """
    from flows.commands.demo import demo as run_demo

    run_demo(_settings(home), samples)


@app.command
def run(
    class_names: Annotated[list[str], Parameter(name="CLASS", help="One or more classes, as `dst cad list` shows them.")],
    /,
    *,
    samples: Annotated[int, Parameter(help="Samples of each class, divided evenly over its CAD models.")] = 200,
    recipe: Annotated[str, Parameter(help="What to make: embedded, render-world, paper-sd15, sdxl-canny, ...")] = "embedded",
    overrides: Annotated[Path | None, Parameter(help="TOML file that changes fields of the recipe.")] = None,
    preview: Annotated[
        bool, Parameter(help="Make only the first 8 samples and one picture of them; the class stays as it is.", negative="")
    ] = False,
    dry_run: Annotated[
        bool, Parameter(help="Print what is cached, what is missing and what that costs, and stop.", negative="")
    ] = False,
    verbose: Annotated[bool, Parameter(help="With --dry-run: print the resolved recipe as well.", negative="")] = False,
    runner: Annotated[RunnerName, Parameter(help="Where shards are made: in this process, or on a cluster.")] = "local",
    cluster: Annotated[
        str | None, Parameter(help="Address of that cluster; default: DST_CLUSTER, else one started on this machine.")
    ] = None,
) -> None:
    """Make a class's images: renders, controls, captions, images, verdicts, catalog, report. Only what is missing is made.

    Example: dst run car --samples 24
    """
    from flows.commands.run import launch, look_ahead

    if cluster is not None:
        if runner == "local":
            raise ValueError("--cluster says nothing without a runner: add --runner dask, or leave it out")
        # The run may be a process of its own, which reads the same environment.
        os.environ["DST_CLUSTER"] = cluster
    if preview and not dry_run:
        look_ahead(_settings(), class_names, samples, recipe, overrides)
    else:
        launch(_settings(), class_names, samples, recipe, overrides, dry_run=dry_run, verbose=verbose, runner=runner)


@app.command
def sql(
    query: Annotated[str, Parameter(help="One SELECT statement.")],
    /,
    *,
    format: Annotated[Literal["table", "csv", "json", "parquet"], Parameter(help="How to print it.")] = "table",
    out: Annotated[Path | None, Parameter(help="Write to this file instead of the terminal.")] = None,
    copy: Annotated[bool, Parameter(help="Ask the copy that dst catalog copy made, for all at once.", negative="")] = False,
) -> None:
    """Ask the catalog a question. Read-only by construction.

    Example: dst sql "select class_name, count(*), avg(kept) from samples group by 1"
    """
    from flows.commands.ask import ask

    ask(_settings(), query, format, out, copy=copy)


@app.command
def status() -> None:
    """Show each class by stage, what failed, what runs and for how long still, what is scheduled, and the last runs.

    Example: dst status
    """
    from flows.commands.status import status as show_status

    show_status(_settings())


@app.command
def retry(
    class_name: Annotated[str | None, Parameter(name="CLASS", help="Only this class.")] = None,
    /,
    *,
    stage: Annotated[OfASample | None, Parameter(help="Only what failed at this stage.")] = None,
    reason: Annotated[str | None, Parameter(help="Only what failed for this reason, as `dst status` names it.")] = None,
    sample: Annotated[list[str] | None, Parameter(help="Only this sample; may be said several times.")] = None,
) -> None:
    """Try failed samples again, under the recipe of the class's last run; what was made stays.

    Example: dst retry car --stage render --reason renderer_killed
    """
    from flows.commands.retry import retry as try_again

    try_again(_settings(), class_name, stage, reason, sample)


@app.command(name="filter")
def filter_(
    class_name: Annotated[str, Parameter(name="CLASS", help="The class.")],
    /,
    *,
    keep: Annotated[
        str | None,
        Parameter(
            help='What is kept: "lose 5%", "2% left", "kcf at most 3", "fidelity at least 0.3", "best 80% by lowest kcf", '
            'several with "and", or recipe. Without it: what was decided so far.'
        ),
    ] = None,
    judges: Annotated[str, Parameter(help="Judges heard besides the recipe's, with commas between: pose,shape.")] = "",
    name: Annotated[str, Parameter(help="What the decision is called; default: what is kept, in those words.")] = "",
    default: Annotated[bool, Parameter(help="Let `kept` show this decision from now on.", negative="")] = False,
    recipe: Annotated[str | None, Parameter(help="The recipe whose images are meant; default: that of the last run.")] = None,
) -> None:
    """Decide which images of a class are kept, over the scores that are stored. Nothing is painted or measured again.

    Example: dst filter car --keep "lose 5%" --default
    """
    from flows.commands.filter import decide

    decide(_settings(), class_name, keep, [kind for kind in judges.replace(" ", "").split(",") if kind], name, default, recipe)


@app.command
def show(
    sample: Annotated[str | None, Parameter(name="SAMPLE", help="A sample's name, as in the catalog's samples view.")] = None,
    /,
    *,
    image: Annotated[Path | None, Parameter(help="A PNG that was made here, wherever it lies now.")] = None,
    recipe: Annotated[str | None, Parameter(help="Only as made under this recipe.")] = None,
) -> None:
    """Print where a sample, or a picture, comes from: CAD model, pose, light, prompt, seed, models, verdict, run, files.

    Example: dst show car-3fa9c1d27b10-0003-00
    """
    from flows.commands import show as history

    if (sample is None) == (image is None):
        raise ValueError("say which sample, or which picture: dst show SAMPLE, or: dst show --image FILE")
    if image is not None:
        history.show_image(_settings(), image)
    else:
        history.show(_settings(), str(sample), recipe)


@app.command
def reproduce(
    samples: Annotated[list[str], Parameter(name="SAMPLE", help="One or more samples' names.")],
    /,
    *,
    recipe: Annotated[str | None, Parameter(help="Which image of it, where it was made under several recipes.")] = None,
    stage: Annotated[OfASample | None, Parameter(help="Stop behind this one.")] = None,
    into: Annotated[Path | None, Parameter(help="Keep what is made in this empty folder.")] = None,
) -> None:
    """Make samples again from their records alone, in an empty store, and compare. Exit code 1 if one differs beyond 40 dB.

    Example: dst reproduce car-3fa9c1d27b10-0003-00
    """
    from flows.commands.reproduce import reproduce as make_again

    sys.exit(0 if make_again(_settings(), samples, recipe, into, stage) else 1)


@app.command
def diff(
    runs: Annotated[
        list[str], Parameter(name="RUN", help="Two runs, the start of each id is enough; or one, or a class: see below.")
    ],
    /,
    *,
    format: Annotated[Literal["text", "json"], Parameter(help="text, or json with every caption.")] = "text",
) -> None:
    """Say what changed between two runs: recipe, samples, captions, scores, verdicts, costs.

    One run is compared with the run of its class before it; of a class, the last two runs are.

    Example: dst diff car
    """
    from flows.commands.diff import diff as compare_runs

    if len(runs) > 2:
        raise ValueError(f"two runs are compared, and these are {len(runs)}")
    compare_runs(_settings(), runs, format)


@app.command
def report(
    run_id: Annotated[str | None, Parameter(help="A run's id, or the start of it; the latest run if left out.")] = None, /
) -> None:
    """Write a run's report page again and print where it is.

    Example: dst report
    """
    from flows.commands.ask import report as write_report

    write_report(_settings(), run_id)


@app.command
def export(
    format: Annotated[export_commands.FormatName, Parameter(help="What to write; see docs/exports.md.")],
    out: Annotated[Path, Parameter(help="A new or empty folder.")],
    /,
    *,
    name: Annotated[str, Parameter(help="The release's name, such as car-v1. Releases never change.")],
    where: Annotated[
        str | None,
        Parameter(help="A condition over the samples view; default: kept = 1 and in_cohort = 1, or the release's own."),
    ] = None,
) -> None:
    """Write samples as a release in a format other tools load: the folder is complete or absent, a killed export goes on.

    Example: dst export coco out/car-v1 --name car-v1 --where "class_name = 'car' and kept = 1 and in_cohort = 1"
    """
    export_commands.export_release(_settings(), format, out, name, where)


@app.command
def gallery(
    *,
    where: Annotated[str | None, Parameter(help="A condition over the samples view; default: in_cohort = 1.")] = None,
    out: Annotated[Path | None, Parameter(help="The page to write; default: gallery/index.html in the home folder.")] = None,
) -> None:
    """Write a page of every picture a condition holds for, with filters by class, viewpoint and verdict. Works offline.

    Example: dst gallery --where "class_name = 'car' and kept = 0"
    """
    export_commands.write_gallery_page(_settings(), where, out)


@app.command
def train(
    *,
    shards: Annotated[int, Parameter(help="Shards of 256 training pictures.", validator=_SOME)] = 44,
    autoencoder_minutes: Annotated[float, Parameter(help="Minutes for the autoencoder, over all sittings.", validator=_ANY)] = 30,
    base_minutes: Annotated[
        float, Parameter(help="Minutes for the text-to-image model, over all sittings.", validator=_ANY)
    ] = 120,
    control_minutes: Annotated[float, Parameter(help="Minutes for the ControlNet, over all sittings.", validator=_ANY)] = 90,
    together_minutes: Annotated[
        float, Parameter(help="Minutes for base and ControlNet together, over all sittings.", validator=_ANY)
    ] = 60,
    decoder_minutes: Annotated[
        float, Parameter(help="Minutes for the decoder's finish, over all sittings.", validator=_ANY)
    ] = 30,
    base: Annotated[str, Parameter(help="Train a ControlNet on this frozen base instead: a folder, or hub id@commit.")] = "",
    control: Annotated[Learned, Parameter(help="What a ControlNet on a frozen base learns to obey.")] = "edges",
    begin_from: Annotated[
        str, Parameter(help="Begin with trained weights: embedded, or the folder of an earlier training; default: from nothing.")
    ] = "",
    class_names: Annotated[
        list[str] | None,
        Parameter(name="--class", help="A registered class whose CAD models join the parametric ones. Repeat it for several."),
    ] = None,
    full_share: Annotated[
        float, Parameter(help="Share of the shards that are full Blender scenes.", validator=Number(gte=0, lte=1))
    ] = 0.1,
    sheet_minutes: Annotated[
        float, Parameter(help="Minutes between sheets of samples; 0: only at a stage's end.", validator=_ANY)
    ] = 15,
) -> None:
    """Train the embedded generator from nothing, or a ControlNet on a base of your own. Start it again to go on.

    Example: dst train --class duck --begin-from embedded --base-minutes 60 --control-minutes 60
    """
    from flows.prefect_env import own_server, prepare
    from tasks.plan.place import Place

    if class_names:
        # Before a home is made where there is none.
        Place.of(_settings()).catalog.database.require_schema()
    prepare(_settings())
    from flows.commands.terminal import watched
    from flows.train import train as run_train
    from tasks.train import registered, stages, training, weights_of

    place = Place.of(_settings())
    registered(place, class_names or [])
    where = training(place.home, class_names or [], base, begin_from, control)
    if begin_from:
        weights_of(begin_from)
    stages(base, begin_from)
    own_server(_settings())
    with watched():
        folder = run_train(
            shards=shards,
            autoencoder_minutes=autoencoder_minutes,
            base_minutes=base_minutes,
            control_minutes=control_minutes,
            together_minutes=together_minutes,
            decoder_minutes=decoder_minutes,
            base=base,
            control=control,
            begin_from=begin_from,
            class_names=class_names or [],
            full_share=full_share,
            sheet_minutes=sheet_minutes,
        )
    print(f"report: {where.page}")
    print(f"weights in {folder}")


@app.command
def scan(*, dry_run: Annotated[bool, Parameter(help="Only say what is new and pending.", negative="")] = False) -> None:
    """Look for new, changed and broken CAD models in the watched folders, and make what is pending: just that.

    Example: dst scan
    """
    from flows.commands.scan import scan as run_scan

    sys.exit(0 if run_scan(_settings(), dry_run) else 1)


@app.command
def serve(
    *,
    host: Annotated[str, Parameter(help="Address to listen on; another than this host's needs authentication.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port of the Prefect UI; 0: a free one.", validator=_PORT)] = 4200,
    files_port: Annotated[int, Parameter(help="Port of reports and pictures; 0: a free one.", validator=_PORT)] = 4201,
    runs: Annotated[int, Parameter(help="Runs at the same time; 0: none here, `dst worker` makes them.", validator=_ANY)] = 2,
) -> None:
    """Serve the platform to a browser: Prefect server (or the one named), forms, runs, reports. Ctrl-C ends it.

    Example: dst serve
    """
    from flows.commands.serve import serve as run_serve

    run_serve(_settings(), host, port, files_port, runs)


@app.command
def worker(
    *,
    runs: Annotated[int, Parameter(help="Runs at the same time.", validator=_SOME)] = 1,
    scans: Annotated[bool, Parameter(help="Also look for new CAD models; not where the watched folders are not seen.")] = True,
    host: Annotated[str, Parameter(help="Address to listen on for questions of health.")] = "127.0.0.1",
    health_port: Annotated[int, Parameter(help="Port where /health says whether it works; 0: none.", validator=_PORT)] = 0,
) -> None:
    """Make runs that are launched at the Prefect server of another machine (DST_PREFECT_API_URL). Ctrl-C ends it.

    Example: dst worker --no-scans
    """
    from flows.commands.serve import work

    work(_settings(), runs, scans, (host, health_port))


@app.command
def doctor() -> None:
    """Check what is installed, reachable and working.

    Example: dst doctor
    """
    from flows.commands.doctor import doctor as examine

    sys.exit(0 if examine(_settings()) else 1)


def _settings(home: Path | None = None) -> Settings:
    if home is not None:
        # Tasks, renderers and readers, in this process and others, all read the same environment.
        os.environ["DST_HOME"] = str(home)
    return Settings()


def main() -> None:
    """Run a command; a person's mistake is one line on stderr and exit code 2, a bug is a traceback."""
    from storage.folders import NoRoomLeft

    _own_code_only()
    try:
        app()
    except (ValueError, NoRoomLeft, FileNotFoundError) as error:
        print(f"dst: {_in_a_line(error)}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # `dst show ... | head` has seen enough; what is still in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno is None and isinstance(error, (ConnectionError, PermissionError)):
            # The store's own words: its server is away, or lets nobody in.
            print(f"dst: {_in_a_line(error)}", file=sys.stderr)
            sys.exit(2)
        if error.errno not in _OF_A_PLACE:
            raise
        said = error.strerror or str(error)
        print(f"dst: {error.filename or 'a file'}: {said[:1].lower()}{said[1:]}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("dst: stopped; start the same command again and it goes on where it was", file=sys.stderr)
        sys.exit(130)


def _own_code_only() -> None:
    """Let every process that a command starts load this code, and none from the working folder.

    Python looks there first for `python -m` and `python -c`, and a person's own `tasks.py` or `models.py` would be taken for
    ours.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    here = Path(__file__).resolve().parents[1]
    # A checkout may be started in place (`python -m flows.cli`), uninstalled or beside another that is installed. What is
    # installed is found anyway, and its folder must not come before the standard library. An empty part is the working folder.
    own = [] if here.name in ("site-packages", "dist-packages") else [str(here)]
    parts = [*own, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(parts))


def _in_a_line(error: Exception) -> str:
    """Return what an error says; of a setting that cannot be its name and the rule, not its value, which may be a secret."""
    if isinstance(error, pydantic.ValidationError) and error.title == Settings.__name__:
        said = ((str(one["loc"][0]).upper(), one["msg"].removeprefix("Value error, ")) for one in error.errors())
        wrong = (f"DST_{name}: {what[:1].lower()}{what[1:]}" for name, what in said)
        return f"{'; '.join(wrong)} (in the environment or in .env)"
    return str(error)


if __name__ == "__main__":
    main()
