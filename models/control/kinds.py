"""The kinds of control there are. A new one is a module of this package and one line here."""

from __future__ import annotations

from models.control.canny import CannySpec
from models.control.depth import DepthSpec
from models.control.geometry import GeometrySpec
from models.control.normals import NormalsSpec
from models.control.protocol import ControlSpec
from models.control.voxels import VoxelsSpec
from models.kinds import Kinds

CONTROLS: Kinds[ControlSpec] = Kinds("control", [CannySpec, GeometrySpec, DepthSpec, NormalsSpec, VoxelsSpec])
