"""The kinds of generator there are. A new one is a module with a spec and a class, and one line here."""

from __future__ import annotations

from models.image.controlnet import ControlNetSpec
from models.image.finished import FinishedRenderSpec
from models.image.protocol import ImageSpec
from models.kinds import Kinds

GENERATORS: Kinds[ImageSpec] = Kinds("generator", [ControlNetSpec, FinishedRenderSpec])
