"""Each format read back the way its users read it, as a camera that can be asked where points fall.

Written from the formats' own documents, not from our writers. Points come in each format's own frame and unit; pixels go out with
their centres at integers, counted from 0.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass
class Seen:
    """One picture, and what a format says of it."""

    sample_id: str
    """Which sample it is."""
    image: Path | bytes
    """The picture."""
    pixels: Floats
    """Where the CAD model's vertices fall (N, 2), by the format's own pose; the 3D box's corners where it has no model."""
    mask: NDArray[np.uint8] | None = None
    """The mask (H, W), where the format has one."""
    depth: Floats | None = None
    """Depth in longest sides, where the format has one."""
    box: tuple[float, float, float, float] | None = None
    """First and last column and row of the object, as the format states it."""
    behind: Floats | None = None
    """Depth of the vertices, in longest sides."""
    faces: NDArray[np.int64] | None = None
    """Triangles of the vertices (M, 3), from 0."""

    def silhouette(self, width: int, height: int) -> NDArray[np.bool_]:
        """Return the pixels (H, W) whose centre the projected triangles cover."""
        assert self.faces is not None
        covered = np.zeros((height, width), dtype=bool)
        corners = self.pixels[self.faces]
        low = np.maximum(np.ceil(corners.min(axis=1) - 1e-9), 0).astype(int)
        high = np.minimum(np.floor(corners.max(axis=1) + 1e-9), [width - 1, height - 1]).astype(int)
        for (a, b, c), (x0, y0), (x1, y1) in zip(corners, low, high):
            if x0 > x1 or y0 > y1:
                continue
            x, y = np.meshgrid(np.arange(x0, x1 + 1), np.arange(y0, y1 + 1))
            sides = [(q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0]) for p, q in ((a, b), (b, c), (c, a))]
            inside = np.all([side >= -1e-9 for side in sides], axis=0) | np.all([side <= 1e-9 for side in sides], axis=0)
            covered[y0 : y1 + 1, x0 : x1 + 1] |= inside
        return covered


def projected(K: Any, R: Any, t: Any, points: Floats) -> tuple[Floats, Floats]:
    """Return pixels (N, 2) and depths (N,) of points under an OpenCV camera."""
    K, R, t = np.reshape(K, (3, 3)), np.reshape(R, (3, 3)), np.reshape(t, 3)
    seen = points @ R.T + t
    flat = seen @ K.T
    return flat[:, :2] / flat[:, 2:], seen[:, 2]


def corners(extents: Any) -> Floats:
    """Return the corners of a centred box: x fastest, then y, then z, each from - to +."""
    return np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)]) * np.asarray(extents) / 2


def coco(out: Path) -> Iterator[Seen]:
    from pycocotools.coco import COCO

    read = COCO(str(out / "annotations" / "instances_default.json"))
    for image in read.loadImgs(read.getImgIds()):
        (annotation,) = read.loadAnns(read.getAnnIds(imgIds=[image["id"]]))
        told = annotation["dst"]
        pixels, depths = projected(told["K"], told["R"], told["t"], corners(told["box3d_extents"]))
        x, y, width, height = annotation["bbox"]
        yield Seen(
            sample_id=image["dst"]["sample_id"],
            image=out / "images" / image["file_name"],
            pixels=pixels,
            mask=read.annToMask(annotation) * np.uint8(255),
            box=(x, y, x + width - 1, y + height - 1),
            behind=depths,
        )


def ply(path: Path) -> tuple[Floats, NDArray[np.int64]]:
    """Return points and faces as the BOP toolkit reads them: value by value, floats, ints and uchars, triangles only."""
    sizes = {"float": ("<f", 4), "int": ("<i", 4), "uchar": ("<B", 1)}
    with path.open("rb") as file:
        section, counts, properties = "", {}, []
        while (line := file.readline().decode().strip()) != "end_header":
            words = line.split()
            if words[0] == "format":
                assert words[1] == "binary_little_endian"
            elif words[0] == "element":
                section, counts[words[1]] = words[1], int(words[2])
            elif words[0] == "property" and section == "vertex":
                properties.append((words[2], words[1]))
            elif words[0] == "property":
                assert words[1:] == ["list", "uchar", "int", "vertex_indices"]
        names = [name for name, _ in properties]
        assert names[:6] == ["x", "y", "z", "nx", "ny", "nz"], "the toolkit wants normals"
        width = sum(sizes[kind][1] for _, kind in properties)
        layout = "<" + "".join(sizes[kind][0][1] for _, kind in properties)
        points = np.array([struct.unpack(layout, file.read(width))[:3] for _ in range(counts["vertex"])])
        faces = []
        for _ in range(counts["face"]):
            assert file.read(1) == b"\x03", "only triangular faces are supported"
            faces.append(struct.unpack("<3i", file.read(12)))
        assert file.read() == b""
    return points, np.array(faces)


def bop(out: Path) -> Iterator[Seen]:
    def keyed(path: Path) -> dict[int, Any]:
        return {int(name): value for name, value in json.loads(path.read_text()).items()}

    for scene in sorted((out / "train").iterdir()):
        cameras, truths = keyed(scene / "scene_camera.json"), keyed(scene / "scene_gt.json")
        infos, samples = keyed(scene / "scene_gt_info.json"), keyed(scene / "samples.json")
        assert sorted(cameras) == sorted(truths) == sorted(infos)
        for image, camera in cameras.items():
            (truth,), (info,) = truths[image], infos[image]
            points, faces = ply(out / "models" / f"obj_{truth['obj_id']:06d}.ply")
            pixels, depths = projected(camera["cam_K"], truth["cam_R_m2c"], truth["cam_t_m2c"], points)
            depth = cv2.imread(str(scene / "depth" / f"{image:06d}.png"), cv2.IMREAD_UNCHANGED)
            assert depth.dtype == np.uint16
            x, y, width, height = info["bbox_visib"]
            yield Seen(
                sample_id=samples[image]["sample_id"],
                image=scene / "rgb" / f"{image:06d}.png",
                pixels=pixels,
                mask=cv2.imread(str(scene / "mask_visib" / f"{image:06d}_000000.png"), cv2.IMREAD_UNCHANGED),
                depth=depth * camera["depth_scale"] / 1000,
                box=(x, y, x + width, y + height),
                behind=depths / 1000,
                faces=faces,
            )


def webdataset(out: Path) -> Iterator[Seen]:
    import webdataset as wds

    shards = sorted(glob.glob(f"{out}/shard-*.tar"))
    for sample in wds.WebDataset(shards, shardshuffle=False):
        told = json.loads(sample["json"])
        with np.load(io.BytesIO(sample["depth.npz"])) as file:
            yield _told(told, sample["png"], sample["mask.png"], file["depth"])


def huggingface(out: Path) -> Iterator[Seen]:
    from datasets import load_dataset

    rows = load_dataset("parquet", data_files=f"{out}/data/*.parquet", split="train", cache_dir=str(out.parent / "cache"))
    for row in rows.cast_column("image", _bytes()).cast_column("mask", _bytes()).cast_column("depth", _bytes()):
        depth = cv2.imdecode(np.frombuffer(row["depth"]["bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
        yield _told(row, row["image"]["bytes"], row["mask"]["bytes"], depth)


def _bytes() -> Any:
    from datasets import Image

    return Image(decode=False)


def _told(told: dict[str, Any], image: bytes, mask: bytes, depth: NDArray[np.uint16]) -> Seen:
    pixels, depths = projected(told["K"], told["R"], told["t"], corners(told["box3d_extents"]))
    return Seen(
        sample_id=told["sample_id"],
        image=image,
        pixels=pixels,
        mask=cv2.imdecode(np.frombuffer(mask, np.uint8), cv2.IMREAD_UNCHANGED),
        depth=depth * told["depth_scale"],
        box=tuple(told["box"]),
        behind=depths,
    )


def pascal3d(out: Path) -> Iterator[Seen]:
    import scipy.io

    for path in sorted((out / "Annotations").glob("*_dst/*.mat")):
        record = scipy.io.loadmat(path)["record"]
        (thing,) = record["objects"][0][0][0]
        view = thing["viewpoint"]

        def value(name: str, view: Any = view) -> float:
            return float(view[name][0][0][0][0])

        class_name = str(thing["class"][0])
        cads = scipy.io.loadmat(out / "CAD" / f"{class_name}.mat")[class_name][0]
        cad = cads[int(thing["cad_index"][0][0]) - 1]
        points = cad["vertices"]
        pixels, depths = pascal_projection(points, value)
        name = str(record["filename"][0][0][0])
        x0, y0, x1, y1 = thing["bbox"][0]
        yield Seen(
            sample_id=path.stem,
            image=out / "Images" / path.parent.name / name,
            pixels=pixels - 1,
            box=(x0 - 1, y0 - 1, x1 - 1, y1 - 1),
            behind=depths,
            faces=cad["faces"].astype(int) - 1,
        )


def pascal_projection(points: Floats, value: Any) -> tuple[Floats, Floats]:
    """Project as PASCAL3D+ documents it: camera from azimuth, elevation, distance; in-plane turn; y up until the last step."""
    a, e, d = np.radians(value("azimuth")), np.radians(value("elevation")), value("distance")
    centre = d * np.array([np.cos(e) * np.sin(a), -np.cos(e) * np.cos(a), np.sin(e)])
    a, e = -a, -(np.pi / 2 - e)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(e), -np.sin(e)], [0, np.sin(e), np.cos(e)]])
    R = about_x @ about_z
    focal = value("viewport") * value("focal")
    seen = (points - centre) @ R.T @ np.diag([focal, focal, -1.0])
    flat = seen[:, :2] / seen[:, 2:]
    turn = np.radians(value("theta"))
    flat = flat @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]).T
    return flat * [1, -1] + [value("px"), value("py")], seen[:, 2]


def official(out: Path) -> Iterator[Seen]:
    import OpenEXR

    told = json.loads((out / "samples.json").read_text())
    for picture in sorted(out.glob("train/*/*/image_dst/*_00.png")):
        annotation_file = str(picture).replace("_00.png", ".npy").replace(picture.parent.name, "annotation")
        annotation = np.load(annotation_file, allow_pickle=True)[()]
        sample = told[str(picture.relative_to(out))]
        with OpenEXR.File(annotation_file.replace("annotation", "depth").replace(".npy", ".exr")) as file:
            depth = file.channels()["Y"].pixels.astype(np.float64)
        height, width = depth.shape
        # Its world has the front at +y: ours turned by half a turn.
        points, faces = CANONICAL[sample["cad_key"]]
        points = points * [-1, -1, 1]
        clip = np.c_[points, np.ones(len(points))] @ (annotation["projection_matrix"] @ annotation["modelview_matrix"]).T
        ndc = clip[:, :2] / clip[:, 3:]
        pixels = (ndc * [0.5, -0.5] + 0.5) * [width, height] - 0.5
        yield Seen(
            sample_id=sample["sample_id"],
            image=picture,
            pixels=pixels,
            depth=np.where(depth > 1e9, 0.0, depth),
            behind=clip[:, 3],
            faces=faces,
        )


CANONICAL: dict[str, tuple[Floats, NDArray[np.int64]]] = {}
"""cad_key -> vertices in the canonical frame, and triangles, for formats without a model: filled in by the tests."""


def imagefolder(out: Path) -> Iterator[Seen]:
    with (out / "samples.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            yield Seen(sample_id=row["sample_id"], image=out / row["file_name"], pixels=np.empty((0, 2)))


READERS = {
    "coco": coco,
    "bop": bop,
    "webdataset": webdataset,
    "huggingface": huggingface,
    "pascal3d": pascal3d,
    "imagefolder": imagefolder,
    "official": official,
}
