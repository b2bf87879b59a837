"""One evaluation from pictures to figures.

Enters: groups of cases, a painter, readouts. Leaves: the list of pictures that are to be painted, and from them the figures, JSON
types only, each beside what the world's own renders of the same views reach (the most that a readout can say).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.evaluation import measures, realism, sweep
from models.evaluation.cases import KINDS, Case
from models.evaluation.painting import Painted
from models.evaluation.readouts import Readouts
from models.evaluation.spec import EvaluationSpec
from models.image.controlnet import ControlNetSpec
from models.image.weights import folder_of

HELD_OUT, FILES, UNTRAINED = "held-out", "files", "untrained"
"""Groups of cases, beside the uncommon KINDS: of trained classes, from CAD files, of classes never trained."""
MANY, WORLD = "many", "world"
"""Groups for realism: cases to paint, the held-out ones first among them, and as many others that only their renders are of."""

Paint = Callable[[ControlNetSpec, Sequence[Case], int, str], Painted]
"""Called with a setting, cases, a draw index and a title; paints only what it has not painted before."""
Groups = Mapping[str, Sequence[Case]]

CHECKED = 32
"""So many cases are measured alone as well, so that a test can paint them again and compare."""


@dataclass(frozen=True, kw_only=True)
class Painting:
    """Pictures to be painted."""

    part: str
    """main, sweep or samplers."""
    title: str
    """For people."""
    setting: ControlNetSpec
    """How."""
    cases: Sequence[Case]
    """What."""
    draw: int = 0
    """Which of each case's pictures."""


def switched_off(setting: ControlNetSpec) -> ControlNetSpec:
    """Return the setting with the control off."""
    return dataclasses.replace(setting, control_scale=0.0)


def paintings(spec: EvaluationSpec, default: ControlNetSpec, groups: Groups) -> list[Painting]:
    """Return everything that has to be painted."""
    held = groups[HELD_OUT]
    made = [
        Painting(part="main", title=f"{name}, control on", setting=default, cases=cases)
        for name, cases in groups.items()
        if cases and name != WORLD
    ]
    if spec.without_control:
        title = "held-out, control off"
        made.append(Painting(part="main", title=title, setting=switched_off(default), cases=held[: spec.without_control]))
    if spec.pairs:
        made.append(Painting(part="main", title="held-out, other seeds", setting=default, cases=held[: spec.pairs], draw=1))
    if spec.sweep:
        views = held[: spec.sweep]
        for part, settings in (("sweep", sweep.settings(spec, default)), ("samplers", sweep.samplers(spec, default))):
            for setting in settings:
                title = _title(setting)
                made += [Painting(part=part, title=title, setting=setting, cases=views, draw=draw) for draw in (0, 1)]
    return made


def _title(setting: ControlNetSpec) -> str:
    return f"{setting.scheduler} {setting.steps} steps, control {setting.control_scale:g}, guidance {setting.guidance:g}"


def measure(spec: EvaluationSpec, default: ControlNetSpec, groups: Groups, paint: Paint, readouts: Readouts) -> dict[str, Any]:
    """Return all figures of a generator under its default setting, and those of the sweep and the samplers."""
    held = list(groups[HELD_OUT])
    on = paint(default, held, 0, "")
    world = realism.features_of([case.rgb for case in groups[WORLD]]) if groups.get(WORLD) else None
    figures: dict[str, Any] = {
        "settings": {
            name: getattr(default, name) for name in ("steps", "guidance", "eta", "control_scale", "scheduler", "dtype")
        },
        "model": {"name": default.model, "revision": default.revision},
        "views": {name: len(cases) for name, cases in groups.items()},
        "held_out": _held_out(spec, default, held, on, paint, readouts),
        "viewpoints": _viewpoints(default, groups, on, paint, readouts),
        "by_class": {
            name: _row(on.pictures, held, readouts, _of_class(name)) for name in dict.fromkeys(case.class_name for case in held)
        },
        "files": _files(default, groups, paint, readouts),
        "untrained": _untrained(default, groups, paint, readouts),
        "words": _words(spec, default, held, on, paint, readouts),
        "check": {"samples": min(CHECKED, len(held))} | measures.figures(on.pictures[:CHECKED], held[:CHECKED], readouts),
        "failed": _failed(spec, default, groups, paint),
        "seconds_for_16": round(on.seconds_for_16, 2),
        "processor_for_16": round(on.processor_for_16, 2),
    }
    if world is not None:
        figures["realism"] = _realism(default, groups[MANY], paint, world)
    if spec.pairs:
        again = paint(default, held[: spec.pairs], 1, "")
        figures["diversity"] = measures.diversity(on.pictures, again.pictures)
    if spec.sweep:
        views = held[: spec.sweep]
        figures["ceiling"] = measures.figures([case.rgb for case in views], views, readouts)
        rows = [_setting(setting, views, paint, readouts, world) for setting in sweep.settings(spec, default)]
        figures["sweep"] = rows
        samplers = [_setting(setting, views, paint, readouts, world) for setting in sweep.samplers(spec, default)]
        figures["samplers"], figures["fastest"] = samplers, sweep.fastest(samplers)
        figures["finals"] = [_final(row, default, held, paint, readouts, world) for row in sweep.finalists(rows, samplers[0])]
        chosen = sweep.choose(figures["finals"])
        figures["chosen"] = next((row for row in rows if sweep.same(row, chosen)), samplers[0])
    return figures


def _realism(default: ControlNetSpec, many: Sequence[Case], paint: Paint, world: realism.Features) -> dict[str, Any]:
    """Return how near to the world's pictures others of it come, the autoencoder's of those, and the generator's."""
    renders = [case.rgb for case in many]
    made = {"views": len(many), "world": realism.figures(realism.features_of(renders), world)}
    folder = folder_of(default.model)
    if folder is not None:
        made["autoencoder"] = realism.figures(realism.features_of(realism.round_trip(folder, renders)), world)
    made["on"] = realism.figures(realism.features_of(paint(default, many, 0, "").pictures), world)
    return made


def _real(pictures: measures.Images, world: realism.Features | None) -> dict[str, float]:
    """Return the share of pictures that lie among the world's: of few pictures this can be said, unlike a distance of sets."""
    return {} if world is None else {"real": round(realism.inside(realism.features_of(pictures), world), 3)}


def _final(
    row: Mapping[str, Any],
    default: ControlNetSpec,
    held: list[Case],
    paint: Paint,
    readouts: Readouts,
    world: realism.Features | None,
) -> dict[str, Any]:
    """Return the figures of one of the sweep's settings on all held-out views."""
    setting = dataclasses.replace(default, control_scale=row["control_scale"], guidance=row["guidance"])
    pictures = paint(setting, held, 0, f"all held-out views, {_title(setting)}").pictures
    found = measures.figures(pictures, held, readouts) | _real(pictures, world)
    return {name: row[name] for name in ("control_scale", "guidance", "diversity")} | found


def _held_out(
    spec: EvaluationSpec, default: ControlNetSpec, held: list[Case], on: Painted, paint: Paint, readouts: Readouts
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "render": measures.figures([case.rgb for case in held], held, readouts),
        "on": measures.figures(on.pictures, held, readouts),
    }
    if spec.without_control:
        cases = held[: spec.without_control]
        off = paint(switched_off(default), cases, 0, "")
        made["off"] = measures.figures(off.pictures, cases, readouts)
    others = measures.exchanged(held, len(readouts.classes))
    made["exchanged"] = measures.figures(on.pictures, held, readouts, others)
    made["render_exchanged"] = measures.figures([case.rgb for case in held], held, readouts, others)
    return made


def _row(pictures: measures.Images, cases: Sequence[Case], readouts: Readouts, chosen: Callable[[Case], bool]) -> dict[str, Any]:
    """Return how many cases are `chosen`, what their renders reach and what their pictures reach."""
    some = [index for index, case in enumerate(cases) if chosen(case)]
    if not some:
        return {"views": 0}
    few = [cases[index] for index in some]
    return {
        "views": len(some),
        "render": measures.figures([case.rgb for case in few], few, readouts),
        "on": measures.figures([pictures[index] for index in some], few, readouts),
    }


def _viewpoints(default: ControlNetSpec, groups: Groups, on: Painted, paint: Paint, readouts: Readouts) -> dict[str, Any]:
    cases, pictures = list(groups[HELD_OUT]), list(on.pictures)
    for kind in KINDS[1:]:
        extra = groups.get(kind, ())
        cases += extra
        pictures += paint(default, extra, 0, "").pictures if extra else []
    return {kind: _row(pictures, cases, readouts, _of_kind(kind)) for kind in KINDS}


def _files(default: ControlNetSpec, groups: Groups, paint: Paint, readouts: Readouts) -> dict[str, Any]:
    cases = groups.get(FILES, ())
    if not cases:
        return {}
    pictures = paint(default, cases, 0, "").pictures
    trained = _row(pictures, cases, readouts, lambda case: case.class_name in readouts.classes)
    names = dict.fromkeys((case.class_name, case.name) for case in cases)
    rows = {
        f"{class_name}: {name}": _row(pictures, cases, readouts, _of_file(class_name, name))
        for class_name, name in sorted(names, key=lambda known: (known[0] not in readouts.classes, known))
    }
    return {"all of trained classes": trained} | rows


def _of_class(class_name: str) -> Callable[[Case], bool]:
    return lambda case: case.class_name == class_name


def _of_kind(kind: str) -> Callable[[Case], bool]:
    return lambda case: case.kind == kind


def _of_file(class_name: str, name: str) -> Callable[[Case], bool]:
    return lambda case: (case.class_name, case.name) == (class_name, name)


def _untrained(default: ControlNetSpec, groups: Groups, paint: Paint, readouts: Readouts) -> dict[str, Any]:
    cases = groups.get(UNTRAINED, ())
    if not cases:
        return {}
    pictures = paint(default, cases, 0, "").pictures
    return {name: _row(pictures, cases, readouts, _of_class(name)) for name in dict.fromkeys(case.class_name for case in cases)}


def _words(
    spec: EvaluationSpec, default: ControlNetSpec, held: list[Case], on: Painted, paint: Paint, readouts: Readouts
) -> dict[str, Any]:
    """Return for each scene and light word how many prompts say it and where it is read: renders, control on, control off."""
    masks, told = [case.mask for case in held], [case.class_name for case in held]
    made = {
        "render": measures.word_figures(readouts.read([case.rgb for case in held], masks, told), held),
        "on": measures.word_figures(readouts.read(on.pictures, masks, told), held),
    }
    if spec.without_control:
        few = slice(0, spec.without_control)
        off = paint(switched_off(default), held[few], 0, "")
        made["off"] = measures.word_figures(readouts.read(off.pictures, masks[few], told[few]), held[few])
    return made


def _failed(spec: EvaluationSpec, default: ControlNetSpec, groups: Groups, paint: Paint) -> dict[str, int]:
    """Return how many pictures of the default setting were asked for and how many the generator could not make."""
    done = [paint(job.setting, job.cases, job.draw, "") for job in paintings(spec, default, groups) if job.part == "main"]
    return {"painted": sum(len(one.pictures) for one in done), "failed": sum(one.failed for one in done)}


def _setting(
    setting: ControlNetSpec, views: Sequence[Case], paint: Paint, readouts: Readouts, world: realism.Features | None
) -> dict[str, Any]:
    """Return the figures of one setting over two draws of each view."""
    first, second = (paint(setting, views, draw, "") for draw in (0, 1))
    both = measures.figures([*first.pictures, *second.pictures], [*views, *views], readouts)
    return {
        **{name: getattr(setting, name) for name in ("control_scale", "guidance", "scheduler", "steps")},
        **both,
        **_real([*first.pictures, *second.pictures], world),
        "diversity": measures.diversity(first.pictures, second.pictures)["seeds"],
        "failed": first.failed + second.failed,
        "seconds_for_16": round(min(first.seconds_for_16, second.seconds_for_16), 2),
        "processor_for_16": round(min(first.processor_for_16, second.processor_for_16), 2),
    }
