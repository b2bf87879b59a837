"""The model card: what the embedded generator is, how it was made, what it can and cannot do.

Enters: measured figures (models.training.evaluate) and where each stage of training stood. Leaves: Markdown, to lie beside the
weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_READS = {
    "class": "class named by a readout",
    "side": "side of eight (45 degrees each) named by a readout",
    "colour": "prompted colour named by a readout of the object's pixels",
    "scene": "prompted scene named by a readout of the surroundings",
    "light": "prompted light named by the same",
}


def card(figures: Mapping[str, Any], stages: Mapping[str, Mapping[str, Any]], pictures: int) -> str:
    """Return the card as Markdown."""
    told = "; ".join(
        f"{name}: {s['step']} steps, {s['seconds'] / 60:.0f} min, loss {s['loss']:.3f}" for name, s in stages.items()
    )
    exchanged = figures["exchanged"]
    asked = ", ".join(f"{name} {value}" for name, value in figures["settings"].items())
    return f"""# The embedded generator

A small latent diffusion model with a ControlNet for edge maps, 128 x 128 pixels, made by this project from nothing so that its
main job runs without internet or GPU. It shows shape, place, colour and surroundings of simple objects, softly; it is no
substitute for Stable Diffusion, which the same code runs (`--recipe paper-sd15`).

- **Classes of object trained on**: airplane, bus, car, chair, cup, table, teapot, truck.
- **Parts**: AutoencoderTiny (its encoder is linear: the principal components of 8 x 8 pixel patches; its decoder is trained),
  CLIPTextModel with a tokenizer of its own, UNet2DConditionModel, ControlNetModel, DDIMScheduler (v-prediction, zero terminal
  SNR). Loads with `StableDiffusionControlNetPipeline.from_pretrained(folder)`; half-precision safetensors.
- **Data**: {pictures} pictures of parametric CAD models in varied materials, scenes and lights, made by `models/world` (seeds
  0 to 999 of each class); no photographs, no pictures of other people.
- **Training**: on two CPU cores shared with other work, bfloat16.
  {told}.
  The base was trained first; the ControlNet then, on the locked base, from a copy of its encoder behind zero convolutions, half
  on Canny edges, half on geometry edges.
- **Licence**: MIT, as the project. Everything in it was made by the project.

## Figures

`python -m models.training.evaluate --pictures WORLD --samples {figures["samples"]} --out FOLDER`, on {figures["samples"]} views
of CAD models with reserved seeds (from 10,000), {asked}.
Edges: within 2 px, on the object and its outline, found again by Canny 60/120. "Render" is what the measure says of the world's
own render of the view, so the most it can say. Another machine's figures differ by up to 0.03.

| | render | control on | control off |
|---|---|---|---|
{_rows(figures)}

- Edges of another view (exchanged controls): recall {exchanged["edge_recall"]:.2f}, F1 {exchanged["edge_f1"]:.2f}.
- Uncommon views (elevation under -10 or over 60 degrees): {_uncommon(figures)}.
- The share of edges met by chance is what "exchanged" and "control off" show: both are above the plan's one half, for busy
  grounds have many edges. Guidance, eta and control scale were chosen by edge F1 on 24 of these views.
- Diversity: two seeds of one prompt and control differ by {figures["diversity"]} grey levels a pixel on average.
- Unusable images: {figures["failed"]} of {figures["samples"]}.
- Speed: 16 images in {figures["seconds_for_16"]:.0f} s, on one thread of a busy machine (goal: 15 s on two cores).

| class | edge recall | edge F1 |
|---|---|---|
{_classes(figures)}

## Limits

- Fine parts (wheels, legs, handles, windows) are soft or missing; thin objects on busy grounds dissolve.
- It knows the eight classes above, the words of `models/caption/vocabulary.py` and the scenes of the training world. Any other
  class is drawn as a coloured body within the given edges.
- Goals of the plan: edge recall 0.80; colour and class read in 0.85 of images; a pose readout that is right on 0.90 of renders
  and nine tenths as often on images. Class, colour and side are below them: training was short, and the side readout itself
  is weak, so it says little. Real CAD models and classes never trained are not in the table yet.
- `python -m models.training.sitting --begin-from FOLDER` goes on from these weights.
"""


def _rows(figures: Mapping[str, Any]) -> str:
    named = {"edge_recall": "edge recall", "edge_precision": "edge precision", "edge_f1": "edge F1", **_READS}
    lines = [
        f"| {title} | " + " | ".join(f"{figures[column][name]:.2f}" for column in ("render", "control_on", "control_off")) + " |"
        for name, title in named.items()
        if name in figures["render"]
    ]
    return "\n".join(lines)


def _uncommon(figures: Mapping[str, Any]) -> str:
    found = figures.get("uncommon_views")
    return f"edge recall {found['edge_recall']:.2f}, F1 {found['edge_f1']:.2f}" if found else "none among the samples"


def _classes(figures: Mapping[str, Any]) -> str:
    return "\n".join(f"| {name} | {row['edge_recall']:.2f} | {row['edge_f1']:.2f} |" for name, row in figures["by_class"].items())
