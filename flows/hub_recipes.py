"""Recipes whose generators come from a hub: the paper's, and today's families, each with a fast one.

Enters: nothing. Leaves: Recipes. Where the hub's commit is `main`, a run is pinned to the commit that was fetched last
(`dst models fetch`), and records it: a name alone means other weights tomorrow.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from models.caption.grammar import GrammarSpec
from models.control.canny import CannySpec
from models.control.depth import DepthSpec
from models.control.protocol import ControlSpec
from models.image.controlnet import paper_sd15
from models.image.diffusion import ControlModel, DiffusionSpec
from models.image.flux import FluxSpec
from models.image.sd3 import Sd3Spec
from models.image.sdxl import SdxlSpec
from models.image.weights import MAIN
from models.render.spec import RenderSpec, ViewpointSpec
from models.verdict.spec import VerdictSpec
from tasks.plan.recipe import Recipe

QUALITY = "best quality, extremely detailed"
NEGATIVE = (
    "longbody, lowres, bad anatomy, bad hands, missing fingers, extra digit, fewer digits, cropped, worst quality, low quality"
)
"""The official code's words of quality and its negative prompt, those of ControlNet's demo."""

SDXL, SD3, SD35 = (
    "stabilityai/stable-diffusion-xl-base-1.0",
    "stabilityai/stable-diffusion-3-medium-diffusers",
    "stabilityai/stable-diffusion-3.5-large-turbo",
)


def _recipe(
    name: str, image: DiffusionSpec, controls: dict[str, ControlSpec] | None = None, negative: str = NEGATIVE, quality: str = ""
) -> Recipe:
    return Recipe(
        name=name,
        render=RenderSpec(resolution=image.resolution, viewpoint=ViewpointSpec.official(3)),
        controls=controls or {"canny": CannySpec()},
        caption=GrammarSpec(suffix=quality, negative_prompt=negative),
        image=image,
        verdict=VerdictSpec(),
    )


def sd15() -> Recipe:
    """The paper to the letter: Stable Diffusion 1.5, ControlNet v1.1 canny, DDIM of 20 steps with eta 1, guidance 9, 512 px."""
    return _recipe("paper-sd15", paper_sd15(), quality=QUALITY)


def sd15_depth() -> Recipe:
    """As the paper, with the renderer's own depth in the place of edges."""
    net = _net("lllyasviel/control_v11f1p_sd15_depth")
    return _recipe("sd15-depth", dataclasses.replace(paper_sd15(), **net), {"depth": DepthSpec()}, quality=QUALITY)


def sd15_lcm() -> Recipe:
    """Stable Diffusion 1.5 distilled to few steps (latent consistency), canny, 512 px."""
    model = {"model": "SimianLuo/LCM_Dreamshaper_v7", "revision": MAIN}
    return _recipe(
        "sd15-lcm",
        dataclasses.replace(paper_sd15(), **model, scheduler="lcm", steps=6, guidance=8.0, eta=0.0),  # type: ignore[arg-type]
    )


def sdxl_canny() -> Recipe:
    """Stable Diffusion XL, canny, 1024 px."""
    return _recipe(
        "sdxl-canny", SdxlSpec(model=SDXL, revision=MAIN, **_net("diffusers/controlnet-canny-sdxl-1.0"), scheduler="unipc")
    )


def sdxl_canny_depth() -> Recipe:
    """Stable Diffusion XL, canny and the renderer's own depth, 1024 px: the official code's pair."""
    nets = _nets(canny="diffusers/controlnet-canny-sdxl-1.0", depth="diffusers/controlnet-depth-sdxl-1.0")
    image = SdxlSpec(model=SDXL, revision=MAIN, control_models=nets, control_scale=0.5, scheduler="unipc")
    return _recipe("sdxl-canny-depth", image, {"canny": CannySpec(), "depth": DepthSpec()})


def sdxl_turbo() -> Recipe:
    """Stable Diffusion XL distilled to few steps (Turbo), canny, 512 px, for which it was made; it takes no guidance."""
    net = _net("diffusers/controlnet-canny-sdxl-1.0")
    turbo = SdxlSpec(model="stabilityai/sdxl-turbo", revision=MAIN, **net, resolution=512, steps=4, guidance=0.0)
    return _recipe("sdxl-turbo", turbo, negative="")


def sd3_canny() -> Recipe:
    """Stable Diffusion 3 medium, canny, 1024 px."""
    return _recipe("sd3-canny", Sd3Spec(model=SD3, revision=MAIN, **_net("InstantX/SD3-Controlnet-Canny"), guidance=7.0))


def sd35_turbo() -> Recipe:
    """Stable Diffusion 3.5 large distilled to few steps (Turbo), canny, 1024 px; it takes no guidance."""
    net = _net("stabilityai/stable-diffusion-3.5-large-controlnet-canny")
    return _recipe("sd35-turbo", Sd3Spec(model=SD35, revision=MAIN, **net, steps=6, guidance=1.0), negative="")


def flux_canny() -> Recipe:
    """FLUX.1 Canny [dev], which reads the edges itself, 1024 px."""
    image = FluxSpec(model="black-forest-labs/FLUX.1-Canny-dev", revision=MAIN, guidance=30.0, steps=50)
    return _recipe("flux-canny", image, negative="")


def flux_depth() -> Recipe:
    """FLUX.1 Depth [dev], which reads the depth itself, 1024 px."""
    image = FluxSpec(model="black-forest-labs/FLUX.1-Depth-dev", revision=MAIN, guidance=10.0, steps=30)
    return _recipe("flux-depth", image, {"depth": DepthSpec()}, negative="")


def flux_schnell() -> Recipe:
    """FLUX.1 distilled to few steps ([schnell]) with a ControlNet for canny, 1024 px."""
    net = _net("InstantX/FLUX.1-dev-Controlnet-Canny")
    image = FluxSpec(model="black-forest-labs/FLUX.1-schnell", revision=MAIN, **net, steps=4, guidance=0.0, control_scale=0.7)
    return _recipe("flux-schnell", image, negative="")


def _net(model: str) -> dict[str, Any]:
    return {"control_model": model, "control_revision": MAIN}


def _nets(**models: str) -> tuple[ControlModel, ...]:
    return tuple(ControlModel(control=kind, model=model, revision=MAIN) for kind, model in models.items())


FROM_HUB = {
    recipe().name: recipe
    for recipe in (
        sd15, sd15_depth, sd15_lcm, sdxl_canny, sdxl_canny_depth, sdxl_turbo, sd3_canny, sd35_turbo, flux_canny, flux_depth,
        flux_schnell,
    )
}  # fmt: skip
