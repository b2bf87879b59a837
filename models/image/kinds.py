"""The kinds of generator there are. A new one is a module with a spec and a class, and one line here."""

from __future__ import annotations

from models.image.controlnet import ControlNetSpec
from models.image.finished import FinishedRenderSpec
from models.image.flux import FluxSpec
from models.image.protocol import ImageSpec
from models.image.sd3 import Sd3Spec
from models.image.sdxl import SdxlSpec
from models.kinds import Kinds

GENERATORS: Kinds[ImageSpec] = Kinds("generator", [ControlNetSpec, SdxlSpec, Sd3Spec, FluxSpec, FinishedRenderSpec])
