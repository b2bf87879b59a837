"""The one door to Blender: load, camera, light and render through BlenderProc, on pip's bpy.

Enters: a GLB, cameras, lights. Leaves: arrays. Import it only in a process of its own (models.render.worker), on that process's
main thread, and leave that process with os._exit: bpy's state is global, bound to its thread, and can crash with a bad mesh.

BlenderProc expects Blender's own Python. `_assemble` makes it work with pip's bpy; once a release of BlenderProc supports bpy as
a module, that function can go. Where bpy is used directly, a comment says why.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import bpy
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from models.render.camera import NEAR, Camera, Matrix
from models.render.light import Lamp, Light

FAR = 1000.0
GREY = (0.5, 0.5, 0.5, 1.0)
"""What a mesh without material is made of: mid grey, where light and shade both still have room."""


class SceneError(ValueError):
    """A GLB that cannot be rendered; `reason` is a short name that reports count by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Passes:
    """The passes of one render, all (H, W, ...) and float32."""

    combined: NDArray[np.float32]
    """Linear RGB, premultiplied by alpha, and alpha."""
    depth: NDArray[np.float32]
    """Along the optical axis at pixel centres, 0 where nothing is."""
    normal: NDArray[np.float32]
    """Unit normals in the camera's axes, 0 where nothing is."""
    index: NDArray[np.int32]
    """Which object, from 1; 0 where nothing is."""


def _assemble() -> ModuleType:
    """Return the blenderproc package, put together from its parts.

    Its own __init__ insists on Blender's bundled Python, where it installs packages with pip, drops site-packages from sys.path
    and deletes PYTHONPATH. We take the same modules without it.
    """
    spec = importlib.util.find_spec("blenderproc")
    assert spec is not None
    package = sys.modules["blenderproc"] = importlib.util.module_from_spec(spec)
    for name in ("loader", "utility", "material", "lighting", "camera", "renderer", "types", "object"):
        setattr(package, name, importlib.import_module(f"blenderproc.api.{name}"))
    return package


bproc: Any = _assemble()
_initializer: Any = importlib.import_module("blenderproc.python.utility.Initializer")


class Scene:
    """The scene of this process: one CAD model at a time, seen by one camera at a time."""

    def __init__(self, scratch: Path, *, device: Literal["cpu", "gpu"] = "cpu", threads: int = 1) -> None:
        """Set up renderer and scene. `scratch` takes temporary files; `device` and `threads` change speed only."""
        self._scratch = scratch
        utility = importlib.import_module("blenderproc.python.utility.Utility").Utility
        utility.temp_dir = tempfile.mkdtemp(dir=scratch)
        # bproc.init without its language line: bpy as a module knows only the language DEFAULT.
        _initializer.clean_up(clean_up_camera=True)
        bproc.renderer.set_render_devices(use_only_cpu=device == "cpu")
        _initializer._Initializer.set_default_parameters()
        bproc.renderer.set_cpu_threads(threads)
        bproc.renderer.set_output_format("OPEN_EXR_MULTILAYER", 32, enable_transparency=True, view_transform="Standard")
        bproc.renderer.set_noise_threshold(0)
        scene, layer = bpy.context.scene, bpy.context.view_layer
        # All passes in one EXR instead of BlenderProc's compositor and one file each: a third of the cost, and its compositor
        # does not survive clean_up. There is no BlenderProc call for either.
        scene.use_nodes = scene.render.use_compositing = False
        layer.use_pass_z = layer.use_pass_normal = layer.use_pass_object_index = True
        # Files live for milliseconds in memory: packing them is wasted time. Stamps would hold date and host.
        scene.render.image_settings.exr_codec = "NONE"
        scene.render.use_stamp = False
        # Nearly clear glass is still part of the object's shape; only cut-out holes are not.
        layer.pass_alpha_threshold = 0.05
        # BlenderProc keeps Cycles' data from one render to the next. It is found by address, and Blender gives the address of a
        # removed mesh or texture to the next: seen as a model in the texture of another (tests/render/test_pool.py).
        scene.render.use_persistent_data = False
        # The same noise for each view, whatever was rendered before it.
        scene.cycles.seed = 0
        scene.cycles.use_animated_seed = False
        self.objects: list[Any] = []

    @property
    def device(self) -> str:
        """The device that really renders, since Cycles falls back to the CPU silently: `CPU`, or the GPU's type and names."""
        if bpy.context.scene.cycles.device == "CPU":
            return "CPU"
        chosen = bpy.context.preferences.addons["cycles"].preferences
        names = [device.name for device in chosen.devices if device.use and device.type == chosen.compute_device_type]
        return f"{chosen.compute_device_type}: {', '.join(names)}"

    @contextlib.contextmanager
    def model(self, glb: Path) -> Iterator[Matrix]:
        """Load a canonical GLB for the time of a `with` block; gives its vertices (N, 3) in the canonical frame.

        Raises SceneError for a file without meshes, or one that Blender's importer refuses.
        """
        try:
            yield self._load(glb)
        finally:
            self.clear()

    def clear(self) -> None:
        """Remove everything that was loaded."""
        self.objects = []
        _initializer.clean_up(clean_up_camera=True)
        # clean_up leaves what only other data refers to; over hundreds of models that is half a gigabyte.
        bpy.data.orphans_purge(do_recursive=True)

    def _load(self, glb: Path) -> Matrix:
        try:
            loaded = bproc.loader.load_obj(str(glb))
        except (RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError) as refusal:
            # Blender's importer is a Python add-on: on a damaged file it fails wherever it happens to be.
            said = str(refusal).strip().splitlines() or [type(refusal).__name__]
            raise SceneError("unreadable_glb", f"Blender cannot read {glb.name}: {said[-1]}") from None
        # load_obj returns a GLB's empties and cameras as well.
        self.objects = [item for item in loaded if item.blender_obj.type == "MESH" and len(item.blender_obj.data.polygons)]
        if not self.objects:
            raise SceneError("no_faces", f"{glb.name} holds no mesh with faces")
        if len(bpy.data.actions):
            # They would play over the camera's frames.
            raise SceneError("animated_glb", f"{glb.name} holds animations: register the CAD model again")
        vertices = []
        for number, item in enumerate(self.objects, start=1):
            # BlenderProc sets pass_index only together with its compositor output.
            item.blender_obj.pass_index = number
            self._give_material(item)
            mesh = item.blender_obj.data
            # BlenderProc reads vertices one by one in Python: seconds for a large mesh.
            flat = np.empty(len(mesh.vertices) * 3, np.float32)
            mesh.vertices.foreach_get("co", flat)
            used = np.empty(len(mesh.loops), np.int32)
            mesh.loops.foreach_get("vertex_index", used)
            world = np.asarray(item.get_local2world_mat())
            # Vertices that no face uses are not rendered and must not move the camera.
            vertices.append(flat.reshape(-1, 3).astype(np.float64)[np.unique(used)] @ world[:3, :3].T + world[:3, 3])
        return np.concatenate(vertices)

    @staticmethod
    def _give_material(item: Any) -> None:
        materials = [material for material in item.get_materials() if material is not None]
        if not materials:
            grey = bproc.material.create("grey")
            grey.set_principled_shader_value("Base Color", GREY)
            grey.set_principled_shader_value("Roughness", 0.6)
            if len(item.blender_obj.data.color_attributes):
                # Scans and PLY files carry colours at their vertices and no material; BlenderProc has no node for them.
                node = grey.new_node("ShaderNodeVertexColor")
                node.layer_name = item.blender_obj.data.color_attributes[0].name
                grey.set_principled_shader_value("Base Color", node.outputs["Color"])
            item.clear_materials()
            item.add_material(grey)
            return
        for material in materials:
            for shader in material.get_nodes_with_type("BsdfPrincipled"):
                # A metal shows its surroundings, and there are none: as glTF's default (wholly metal) it would be black.
                metallic = shader.inputs["Metallic"]
                for link in list(metallic.links):
                    material.links.remove(link)
                metallic.default_value = min(metallic.default_value, 0.3)

    def light(self, light: Light) -> None:
        """Replace all light of the scene."""
        for lamp in [item for item in bpy.data.lights if item.name.startswith("dst")]:
            # BlenderProc's delete leaves the lamp's data behind.
            bpy.data.lights.remove(lamp)
        bproc.renderer.set_world_background([1.0, 1.0, 1.0], strength=light.ambient)
        for lamp in light.lamps:
            self._add_lamp(lamp)

    @staticmethod
    def _add_lamp(lamp: Lamp) -> None:
        made = bproc.types.Light(lamp.kind.upper(), name="dst")
        a, e = math.radians(lamp.azimuth_deg), math.radians(lamp.elevation_deg)
        towards = np.array([math.cos(e) * math.sin(a), -math.cos(e) * math.cos(a), math.sin(e)])
        made.set_location(towards * (lamp.distance or 10.0))
        made.set_rotation_mat(bproc.camera.rotation_from_forward_vec(-towards))
        made.set_energy(lamp.strength)
        made.set_color(list(lamp.colour))
        # BlenderProc knows a point's radius only, and would let the camera see the lamp as part of the object.
        if lamp.kind == "sun":
            made.blender_obj.data.angle = math.radians(lamp.size)
        else:
            made.blender_obj.data.size = lamp.size
        made.blender_obj.visible_camera = False

    def quality(
        self, *, samples: int, denoiser: Literal["fast", "default", "none"], diffuse_bounces: int, glossy_bounces: int
    ) -> None:
        """Set samples, denoiser and bounces, which quality and time depend on."""
        bproc.renderer.set_max_amount_of_samples(samples)
        bproc.renderer.set_light_bounces(
            diffuse_bounces=diffuse_bounces, glossy_bounces=glossy_bounces, max_bounces=max(diffuse_bounces, glossy_bounces)
        )
        bproc.renderer.set_denoiser(None)
        if denoiser == "none":
            return
        # BlenderProc's denoiser is a compositor node, which knows neither quality nor a cheap prefilter: six times slower.
        scene, layer = bpy.context.scene, bpy.context.view_layer
        scene.cycles.use_denoising = layer.cycles.use_denoising = True
        scene.cycles.denoiser = "OPENIMAGEDENOISE"
        scene.cycles.denoising_use_gpu = False
        scene.cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
        scene.cycles.denoising_quality = "FAST" if denoiser == "fast" else "HIGH"
        scene.cycles.denoising_prefilter = "NONE" if denoiser == "fast" else "ACCURATE"

    def render(self, camera: Camera, region: tuple[int, int, int, int] | None = None) -> Passes:
        """Render what stands in the scene; pixels outside `region` (x0, y0, x1, y1, ends excluded) are not computed."""
        bproc.utility.reset_keyframes()
        bproc.camera.set_intrinsics_from_K_matrix(camera.K, camera.width, camera.height, clip_start=NEAR, clip_end=FAR)
        pose = np.eye(4)
        # Blender's camera looks along -z with y up: OpenCV's axes with y and z turned round.
        pose[:3, :3] = camera.R.T @ np.diag([1.0, -1.0, -1.0])
        pose[:3, 3] = camera.centre
        bproc.camera.add_camera_pose(pose)
        x0, y0, x1, y1 = region or (0, 0, camera.width, camera.height)
        # The denoiser's cost goes with the pixels, and most of an image is background. BlenderProc has no call for it. Blender
        # counts from the bottom and rounds down: a quarter of a pixel keeps binary fractions from rounding to the one before.
        film = bpy.context.scene.render
        film.use_border = film.use_crop_to_border = True
        film.border_min_x, film.border_max_x = (x0 + 0.25) / camera.width, (x1 + 0.25) / camera.width
        film.border_min_y = (camera.height - y1 + 0.25) / camera.height
        film.border_max_y = (camera.height - y0 + 0.25) / camera.height
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        # No output key: with one, BlenderProc looks up a file ending that it does not know. verbose: no progress bar.
        bproc.renderer.render(output_dir=str(folder), file_prefix="view_", output_key=None, return_data=False, verbose=True)
        (file,) = folder.iterdir()
        passes = _read(file, camera, (x0, y0, x1, y1))
        file.unlink()
        folder.rmdir()
        return passes


def _read(exr: Path, camera: Camera, region: tuple[int, int, int, int]) -> Passes:
    x0, y0, x1, y1 = region
    with OpenEXR.File(str(exr), separate_channels=True) as opened:
        channels = opened.channels()

        def planes(layer: str, names: str) -> NDArray[np.float32]:
            return np.stack([np.asarray(channels[f"ViewLayer.{layer}.{name}"].pixels, np.float32) for name in names], axis=-1)

        combined, normal = planes("Combined", "RGBA"), planes("Normal", "XYZ")
        index = np.rint(planes("IndexOB", "X")[..., 0]).astype(np.int32)
        depth = planes("Depth", "Z")[..., 0]
    hit = (index > 0) & (depth < FAR)
    normal = normal @ camera.R.T.astype(np.float32)
    # With several samples normals are averaged over the pixel, and shorter where they differ.
    normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    assert hit.shape == (y1 - y0, x1 - x0), f"Blender rendered {hit.shape} instead of {region}"

    def whole(part: NDArray[Any]) -> NDArray[Any]:
        full = np.zeros((camera.height, camera.width, *part.shape[2:]), part.dtype)
        full[y0:y1, x0:x1] = part
        return full

    return Passes(
        combined=whole(combined),
        depth=whole(np.where(hit, depth, 0).astype(np.float32)),
        normal=whole(np.where(hit[..., None], normal, 0).astype(np.float32)),
        index=whole(np.where(hit, index, 0).astype(np.int32)),
    )


def versions() -> dict[str, str]:
    """Return the versions that made the pixels."""
    from importlib.metadata import version

    return {"bpy": bpy.app.version_string, "blenderproc": version("blenderproc")}
