"""The model card: what the generator is, how it was made, what it can and cannot do.

Enters: measured figures, where each stage of training stood. Leaves: Markdown, to lie beside the weights; a terminal is shown
`tables` alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from models.evaluation.sweep import EQUAL, RECALL_GOAL, obedience, same

PLOT, SHEET, LOOK = "sweep.png", "sheet.jpg", "look.jpg"
"""Files that the card shows."""

TOLERANCE = 0.03
"""Another machine's figures differ by up to this."""

NAMES = {
    "edge_recall": "edge recall within 2 px",
    "edge_precision": "edge precision within 2 px",
    "edge_f1": "edge F1 within 2 px",
    "edge_f1_1px": "edge F1 within 1 px",
    "edge_recall_directed": "edge recall within 2 px, same direction",
    "pose": "pose read, Acc@30",
    "pose_median_deg": "pose, median error in degrees",
    "class": "class read",
    "colour": "prompted colour read",
    "scene": "prompted scene read",
    "light": "prompted light read",
}
SHORT = ("edge_recall", "edge_f1", "pose", "class", "colour", "scene")
"""Figures of the smaller tables."""
WORDS = ("scene: grass", "scene: snow", "light: night")
"""Words that the issue asks about by name; all of them are in figures.json."""

Row = Sequence[str]


def card(figures: Mapping[str, Any], trainings: Sequence[Mapping[str, Any]], pictures: int) -> str:
    """Return the card as Markdown. `trainings`: the sittings in order, stage -> {step, seconds, loss}."""
    asked = ", ".join(f"{name} {value}" for name, value in figures["settings"].items())
    trained = (
        f"- **Training**: on CPU cores shared with other work, bfloat16. {_told(trainings)} First the autoencoder, by pixels and "
        "by the features of EfficientNet-Lite0 (trained on ImageNet; nothing of it is in these weights); then the base on its "
        "latents; the ControlNet on the locked base, from a copy of its encoder behind zero convolutions, half on Canny edges, "
        "half on geometry edges; then both together, where pictures without edges are seen by the base alone; the decoder again, "
        "against a discriminator. The loss of base and ControlNet counts the object's latents three times."
    )
    how = (
        f"`dst evaluate generator`, on views of CAD models whose parametric seeds (from 10,000) no training saw; {asked}. Edges "
        'are found again by Canny 60/120 on the object and its outline. "Renders" is what the same measure says of the world\'s '
        'own render of each view: the most it can say. "Exchanged": judged against another case\'s edges, pose and words: '
        "chance. The readouts are two small networks trained on rendered pictures of the world only "
        f"({_read(figures.get('readouts', {}))}); the pose readout is told the class, and of the poses that a symmetric object "
        f"shows alike the nearest counts. Another machine's figures differ by up to {TOLERANCE}."
    )
    return f"""# The embedded generator

A small latent diffusion model with a ControlNet for edge maps, 128 x 128 pixels, made by this project from nothing so that its
main job runs without internet or GPU. It shows shape, place, colour and surroundings of simple objects, softly; it is no
substitute for Stable Diffusion, which the same code runs (`--recipe paper-sd15`).

![render, edges, image, image with the control off, prompt]({SHEET})

- **Classes of object trained on**: airplane, bus, car, chair, cup, table, teapot, truck.
- **Parts**: AutoencoderTiny (its encoder begins as the principal components of 8 x 8 pixel patches), CLIPTextModel with a
  tokenizer of its own, UNet2DConditionModel, ControlNetModel, DDIMScheduler (v-prediction, zero terminal SNR). Loads with
  `StableDiffusionControlNetPipeline.from_pretrained(folder)`; half-precision safetensors.
- **Data**: {_counted(pictures)} of parametric CAD models in varied materials, scenes and lights, made by `models/world` (seeds
  0 to 999 of each class); no photographs, no pictures of other people.
{filled(trained, "  ")}
- **Licence**: MIT, as the project. Everything in it was made by the project.

## Goals of the plan

{_table(("goal", "asked", "reached", ""), _goals(figures))}

{_missed(figures)}

## Figures

{filled(how)}

{tables(figures)}

{_sweep(figures)}

{_look(figures)}## Limits

- Fine parts (wheels, legs, handles, windows) are soft or missing; thin objects on busy grounds dissolve.
- It knows the eight classes above, the words of `models/caption/vocabulary.py` and the scenes of the training world. Any other
  class is drawn as a coloured body within the given edges (the rows of classes never trained).
{_worst(figures)}
- Real CAD models are shown in the world's materials, not in their own colours.
- `dst train --begin-from embedded` goes on from these weights.
"""


def _worst(figures: Mapping[str, Any]) -> str:
    """Return of which class the pose is read least, against renders of the same views."""
    rows = {name: row for name, row in figures["by_class"].items() if row.get("views") and "pose" in row["on"]}
    name = min(rows, key=lambda each: rows[each]["on"]["pose"] / max(rows[each]["render"]["pose"], 0.01))
    said = (
        f"- The pose of a {name} is read least: in {rows[name]['on']['pose']:.0%} of its images, in "
        f"{rows[name]['render']['pose']:.0%} of renders of the same views. Where a shape's two ends look alike but for a few "
        "pixels, those pixels decide."
    )
    return filled(said, "  ")


def filled(text: str, indent: str = "") -> str:
    """Return a paragraph in lines of the project's width."""
    return textwrap.fill(text, 128, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def tables(figures: Mapping[str, Any]) -> str:
    """Return all tables as Markdown."""
    held, parts = figures["held_out"], []
    titles = {
        "render": "renders",
        "on": "control on",
        "off": "control off",
        "exchanged": "exchanged",
        "render_exchanged": "renders, exchanged",
    }
    if beside := figures.get("beside"):
        held = held | {"beside": beside["held_out"]["on"]}
        titles |= {"beside": f"beside: {_model(beside)}"}
    columns = [name for name in titles if name in held]
    rows = [
        [title, *(_figure(held[column].get(name), name) for column in columns)]
        for name, title in NAMES.items()
        if name in held["render"]
    ]
    parts.append(_table((f"{figures['views']['held-out']} held-out views", *(titles[c] for c in columns)), rows))
    words = figures["words"]
    said = [
        [word.partition(": ")[2], str(words["on"][word]["views"])]
        + [_figure(words[column][word]["read"]) if word in words.get(column, {}) else "" for column in ("render", "on", "off")]
        for word in WORDS
        if word in words["on"]
    ]
    parts.append(_table(("the word shows, by a readout", "views", "renders", "control on", "control off"), said))
    viewpoints = {
        "common": "common viewpoints",
        "steep": "uncommon: elevation under -10 or over 60",
        "one face": "uncommon: one face alone (near-degenerate)",
    }
    parts.append(_rows("viewpoint", {title: figures["viewpoints"][kind] for kind, title in viewpoints.items()}))
    parts.append(_rows("class, held-out", figures["by_class"]))
    if "realism" in figures:
        parts.append(_realism(figures["realism"], figures.get("beside")))
    if figures["files"]:
        parts.append(_rows("real CAD models", figures["files"]))
    if figures["untrained"]:
        parts.append(_rows("classes never trained", figures["untrained"]))
    return "\n\n".join(parts)


def _realism(found: Mapping[str, Any], beside: Mapping[str, Any] | None) -> str:
    """Return how near each set of pictures comes to the world's own."""
    named = {"world": "the world, other CAD models", "autoencoder": "those, through the autoencoder", "on": "control on"}
    rows = _realism_rows(found, named)
    if beside and beside.get("realism", {}).get("views") == found["views"]:
        other = beside["realism"]
        named |= {"autoencoder": f"beside: {_model(beside)}, its autoencoder", "on": f"beside: {_model(beside)}, control on"}
        del named["world"]
        rows += _realism_rows(other, named)
    titles = (f"realism: {found['views']} pictures against as many of the world", "Frechet distance", "precision", "recall")
    return _table(titles, rows)


def _realism_rows(found: Mapping[str, Any], named: Mapping[str, str]) -> list[Row]:
    return [
        [title, f"{found[name]['frechet']:.1f}", *(_figure(found[name][figure]) for figure in ("precision", "recall"))]
        for name, title in named.items()
        if name in found
    ]


def _model(figures: Mapping[str, Any]) -> str:
    """Return the name of the generator that figures are of."""
    model = figures["model"]
    return f"{model['name'].rstrip('/').rpartition('/')[2]} {model['revision'].removeprefix('sha256:')[:8]}"


def _rows(title: str, rows: Mapping[str, Any]) -> str:
    made = [
        [name, str(row["views"])] + [_pair(row, figure) for figure in SHORT] for name, row in rows.items() if row.get("views")
    ]
    named = [NAMES[figure].replace(" within 2 px", "").replace("prompted ", "") for figure in SHORT]
    return _table((f"{title} (renders / control on)", "views", *named), made)


def _pair(row: Mapping[str, Any], figure: str) -> str:
    if figure not in row["on"]:
        return "-"
    return f"{_figure(row['render'].get(figure))} / {_figure(row['on'][figure])}"


def _figure(value: float | None, name: str = "") -> str:
    return "-" if value is None else f"{value:.1f}" if name.endswith("_deg") else f"{value:.2f}"


def _table(titles: Row, rows: Sequence[Row]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _goals(figures: Mapping[str, Any]) -> list[Row]:
    held = figures["held_out"]
    on, render, off, other = held["on"], held["render"], held.get("off", {}), held["exchanged"]
    ratio = on["pose"] / max(render["pose"], 1e-9)
    made: list[Row] = [
        _least("edge recall within 2 px", on["edge_recall"], RECALL_GOAL),
        _least("edge F1 within 1 px", on["edge_f1_1px"], 0.78),
        _goal("edge recall of exchanged controls", "<= 0.50", other["edge_recall"], other["edge_recall"] <= 0.5),
        _least("pose readout on held-out renders, Acc@30", render["pose"], 0.90),
        _least("the same on images, as a share of that", ratio, 0.90),
        _least("class read", on["class"], 0.92),
        _least("prompted colour read (renders: the goal)", on["colour"], render["colour"]),
    ]
    if off:
        made.insert(2, _goal("edge recall with the control off", "beside it", off["edge_recall"], None))
        made.insert(6, _goal("pose read with the control off", "beside it", off["pose"], None))
    made += _realism_goal(figures)
    seconds = figures["seconds_for_16"]
    reached = f"{seconds:.1f} s, {figures['processor_for_16']:.1f} s of one core's time"
    made.append((f"16 images at {figures['settings']['steps']} steps", "<= 15 s on 2 cores", reached, _met(seconds <= 15.0)))
    if named := figures.get("named"):
        share = f"{named['all']} of {named['pictures']}"
        made.append(
            ("class, colour and side named at sight", ">= 40 of 48", share, _met(named["all"] * 48 >= 40 * named["pictures"]))
        )
    failed = figures["failed"]
    made.append(("images that the generator could not make", "", f"{failed['failed']} of {failed['painted']}", ""))
    return made


def _realism_goal(figures: Mapping[str, Any]) -> list[Row]:
    """Return how far the images are from the world's own, above the world's distance from itself, as a share of another's."""
    found, other = figures.get("realism"), figures.get("beside", {}).get("realism")
    if not found or not other or found["views"] != other["views"]:
        return []
    share = (found["on"]["frechet"] - found["world"]["frechet"]) / (other["on"]["frechet"] - other["world"]["frechet"])
    return [_goal("Frechet distance above the world's own, of the generator's beside", "<= 0.33", share, share <= 1 / 3)]


def _least(title: str, value: float, goal: float) -> Row:
    return _goal(title, f">= {goal:.2f}", value, value >= goal)


def _goal(title: str, asked: str, value: float, met: bool | None) -> Row:
    return title, asked, f"{value:.2f}", "" if met is None else _met(met)


def _met(met: bool) -> str:
    return "met" if met else "missed"


def _missed(figures: Mapping[str, Any]) -> str:
    missed = [row[0] for row in _goals(figures) if row[3] == "missed"]
    if not missed:
        return "All are met."
    said = [f"Missed: {'; '.join(missed)}."]
    held = figures["held_out"]
    if held["exchanged"]["edge_recall"] > 0.5:
        by_chance, same = held["render_exchanged"], "edge_recall_directed"
        said.append(
            "Within 2 px a picture with many edges meets edges that it was never shown: the world's own renders, exchanged "
            f"likewise, reach {by_chance['edge_recall']:.2f}. Of edges that also run the same way, images find "
            f"{held['on'][same]:.2f} of their own and {held['exchanged'][same]:.2f} of exchanged ones."
        )
    readers = [name for name in ("class", "colour") if held["on"][name] < 0.9 * held["render"][name]]
    if readers:
        said.append(
            f"The readout of {' and '.join(readers)} is right on renders far more often, so what is missing is in the images."
        )
    return filled(" ".join(said))


def _sweep(figures: Mapping[str, Any]) -> str:
    if "sweep" not in figures:
        return ""
    chosen, fastest, first = figures["chosen"], figures["fastest"], figures["samplers"][0]
    rows = [
        [f"{row['scheduler']}, {row['steps']} steps", f"{row['seconds_for_16']:.1f}", f"{row['processor_for_16']:.1f}"]
        + [_figure(row.get(name)) for name in SHORT]
        + [_figure(row["diversity"], "_deg")]
        for row in figures["samplers"]
    ]
    named = [NAMES[figure].replace(" within 2 px", "").replace("prompted ", "") for figure in SHORT]
    diversity = figures.get("diversity")
    said = (
        f"Two seeds of one prompt and control differ by {diversity['seeds']:.0f} grey levels a pixel on average, pictures of "
        f"different views and prompts by {diversity['cases']:.0f}."
        if diversity
        else ""
    )
    settings = figures["settings"]
    default = "which is the default" if same(chosen, settings) else f"the default is {_scales(settings)}"
    finals = ", ".join(f"{_scales(row)}: {obedience(row):.3f}" for row in figures["finals"])
    choice = (
        f"{len(figures['sweep'])} settings, the same {figures['views']['swept']} views twice each. The best of them and the "
        f"default then paint all {figures['views']['held-out']} held-out views. Best is the greatest mean of edge F1, pose, "
        f"class, colour and scene with an edge recall of at least {RECALL_GOAL} ({finals}), of equal ones (within {EQUAL}) the "
        f"most diverse: {_scales(chosen)}, {default}. "
    )
    speed = (
        f"The fastest within 5 % of the default's figures: {fastest['scheduler']} with {fastest['steps']} steps, 16 images in "
        f"{fastest['processor_for_16']:.1f} s of one core's time ({first['scheduler']} with {first['steps']}: "
        f"{first['processor_for_16']:.1f} s)."
    )
    return f"""## Shape against text against diversity

![figures over control scale and guidance]({PLOT})

{filled(choice + said)}

{_table(("sampler", "seconds for 16", "of one core", *named, "diversity"), rows)}

{filled(speed)}"""


def _look(figures: Mapping[str, Any]) -> str:
    if "look" not in figures:
        return ""
    named = figures.get("named")
    told = (
        f" Somebody who saw this page alone named of {named['pictures']} pictures the class of {named['class']}, the colour of "
        f"{named['colour']}, the side that is seen (or the one beside it) of {named['side']}, all three of {named['all']}."
        if named
        else ""
    )
    said = (
        f"{len(figures['look'])} pictures of held-out CAD models, drawn by lot, not chosen. What each was asked to show is in "
        "`figures.json` under `look`, in the order of their numbers." + told
    )
    return f"""## To look at

{filled(said)}

![pictures drawn by lot, with their numbers]({LOOK})

"""


def _scales(row: Mapping[str, Any]) -> str:
    return f"control scale {row['control_scale']:g} with guidance {row['guidance']:g}"


def _counted(pictures: int) -> str:
    return f"{pictures} pictures" if pictures else "pictures"


def _told(trainings: Sequence[Mapping[str, Any]]) -> str:
    said = [
        "; ".join(f"{name} {s['step']} steps, {s['seconds'] / 60:.0f} min, loss {s['loss']:.3f}" for name, s in stages.items())
        for stages in trainings
    ]
    if len(said) < 2:
        return f"{said[0]}." if said else ""
    return " ".join(f"Sitting {number}: {line}." for number, line in enumerate(said, 1))


def _read(about: Mapping[str, Any]) -> str:
    if not about:
        return "trained by `dst evaluate readouts`"
    return (
        f"{about['pictures']} pictures of {about['cad_models']} CAD models, {about['epochs']} epochs, by `dst evaluate readouts`"
    )
