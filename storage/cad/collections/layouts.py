"""The collections of the method, each in the layout its publishers gave it. 3D-DST, section 3.1.

Enters: a collection's folder as it was unpacked. Leaves: its CAD models as entries, in order of path, with the names, keywords
and licences that the collection itself knows. No mesh is opened. Where each layout is written down: docs/collections.md.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from storage.cad.collections.entry import NAMES, BadCollection, Entry
from storage.cad.collections.synsets import class_of_synset
from storage.cad.folder import FORMATS, scan
from storage.cad.layouts import SHAPENETS
from storage.cad.names import suggestion
from storage.cad.sidecar import keywords_of

OFFICIAL_AXES = ("+y", "-z")
"""Up and front of every ShapeNet file, and of every file that the published CAD list turns by its offsets."""
_MOST_KEYWORDS = 8


def entries(collection: str, root: Path) -> Iterator[Entry]:
    """Yield the CAD models of a collection's folder. Raises BadCollection when it is none, before anything is yielded."""
    if collection not in _READERS:
        raise BadCollection(f'no such collection "{collection}"; there are: {", ".join(NAMES)}')
    if not root.is_dir():
        raise BadCollection(f"no such folder: {root}; give the folder that {collection} was unpacked to")
    return _READERS[collection](root)


# -- ShapeNet v2 -------------------------------------------------------------------------------------------------------------


def shapenet(root: Path) -> Iterator[Entry]:
    """`<synset>/<uid>/models/model_normalized.obj` (v1: `<synset>/<uid>/model.obj`), names in `taxonomy.json`."""
    taxonomy = taxonomy_of(root)
    synsets = [folder for folder in _folders(root) if len(folder.name) == 8 and folder.name.isdigit()]
    if not synsets:
        raise BadCollection(f"{root} is no ShapeNet: it has no folder named like a synset, such as 02958343")
    return _shapenet(synsets, taxonomy)


def _shapenet(synsets: list[Path], taxonomy: Mapping[str, str]) -> Iterator[Entry]:
    for synset in synsets:
        class_name = class_of_synset(synset.name, taxonomy)
        words = keywords_of(taxonomy.get(synset.name, ""), "taxonomy.json")
        for folder in _folders(synset):
            choices = (folder / "models" / "model_normalized.obj", folder / "model_normalized.obj", folder / "model.obj")
            # One without its mesh is still named: it is refused with a reason, not passed over.
            path = next((choice for choice in choices if choice.exists()), choices[0])
            yield Entry(
                collection="shapenet",
                uid=folder.name,
                path=path,
                class_name=class_name,
                name=folder.name,
                keywords=tuple(word for word in words if suggestion(word) != class_name)[:_MOST_KEYWORDS],
                licence="ShapeNet terms of use",
                up=OFFICIAL_AXES[0],
                front=OFFICIAL_AXES[1],
                axes_by=SHAPENETS,
                by_convention=True,
            )


def taxonomy_of(root: Path) -> dict[str, str]:
    """Return synset -> its names with commas, from ShapeNet's taxonomy.json; empty where there is none."""
    path = root / "taxonomy.json"
    if not path.is_file():
        return {}
    table = read_json(path)
    if not isinstance(table, list) or not all(isinstance(row, dict) and {"synsetId", "name"} <= row.keys() for row in table):
        raise BadCollection(f"{path} is no ShapeNet taxonomy: a list of objects with synsetId and name")
    return {str(row["synsetId"]): str(row["name"]) for row in table}


# -- Objaverse ---------------------------------------------------------------------------------------------------------------

_LICENCES = {
    "by": "CC BY 4.0",
    "by-sa": "CC BY-SA 4.0",
    "by-nd": "CC BY-ND 4.0",
    "by-nc": "CC BY-NC 4.0",
    "by-nc-sa": "CC BY-NC-SA 4.0",
    "by-nc-nd": "CC BY-NC-ND 4.0",
    "cc0": "CC0 1.0",
}


def objaverse(root: Path) -> Iterator[Entry]:
    """`<uid>.glb`, or as its package keeps them, `glbs/000-023/<uid>.glb`; names, tags and licences in its annotations.

    Annotations: `annotations.json` (uid -> facts) or the package's `metadata/000-023.json.gz`. Classes: `lvis-annotations.json`
    (class -> uids), where it is there. Each also gzipped.
    """
    own = _json_at(root, "annotations.json")
    classes = {
        str(uid): suggestion(str(name)) for name, uids in _json_at(root, "lvis-annotations.json").items() for uid in _list(uids)
    }
    found = sorted(path for path in _files(root) if path.suffix.lower() == ".glb")
    if not found:
        raise BadCollection(f"{root} holds no .glb; give the folder of Objaverse's models, or say --download with --list")

    @functools.lru_cache(maxsize=2)
    def bucket(name: str) -> dict[str, Any]:
        return _json_at(root / "metadata", f"{name}.json")

    def named() -> Iterator[Entry]:
        for path in found:
            said = own.get(path.stem) or bucket(path.parent.name).get(path.stem) or {}
            if not isinstance(said, dict):
                raise BadCollection(f"the annotations in {root} say of {path.stem} what is no object of facts")
            tags = [tag.get("name") if isinstance(tag, dict) else tag for tag in _list(said.get("tags"))]
            yield Entry(
                collection="objaverse",
                uid=path.stem,
                path=path,
                class_name=classes.get(path.stem),
                name=str(said.get("name") or path.stem)[:200],
                keywords=keywords_of([str(tag) for tag in tags if tag], path)[:_MOST_KEYWORDS],
                licence=_LICENCES.get(str(said["license"]), str(said["license"])) if said.get("license") else None,
            )

    return named()


# -- OmniObject3D and Toys4K -------------------------------------------------------------------------------------------------


def omniobject3d(root: Path) -> Iterator[Entry]:
    """`raw/raw_scans/<category>/<category>_<number>/Scan/Scan.obj`; the folder given may also be raw or raw_scans itself."""
    base = next((root / below for below in ("raw/raw_scans", "raw_scans") if (root / below).is_dir()), root)
    objects = [folder for category in _folders(base) for folder in _folders(category) if folder.name.startswith(category.name)]
    if not objects:
        raise BadCollection(f"{root} is no OmniObject3D: expected raw/raw_scans/<category>/<category>_001/Scan/Scan.obj in it")
    return (
        Entry(
            collection="omniobject3d",
            uid=f"omniobject3d_{folder.name}",
            path=folder / "Scan" / "Scan.obj",
            class_name=suggestion(folder.parent.name),
            name=folder.name,
        )
        for folder in objects
    )


def toys4k(root: Path) -> Iterator[Entry]:
    """`<category>/<category>_<number>/mesh.obj`, in `toys4k_obj_files` or in the folder itself. Its .blend files are refused."""
    base = root / "toys4k_obj_files" if (root / "toys4k_obj_files").is_dir() else root
    objects = [folder for category in _folders(base) for folder in _folders(category) if folder.name.startswith(category.name)]
    if not objects:
        raise BadCollection(f"{root} is no Toys4K: expected <category>/<category>_000/mesh.obj in it")
    return (
        Entry(
            collection="toys4k",
            uid=f"toys4k_{folder.name}",
            path=_mesh_of(folder),
            class_name=suggestion(folder.parent.name),
            name=folder.name,
        )
        for folder in objects
    )


def _mesh_of(folder: Path) -> Path:
    names = sorted(path.name for path in folder.iterdir())
    preferred = ("mesh.obj", f"{folder.name}.obj", *(name for name in names if Path(name).suffix.lower() in FORMATS))
    blend = [name for name in names if name.endswith(".blend")]
    return folder / next((name for name in (*preferred, *blend) if name in names), "mesh.obj")


# -- plain folders -----------------------------------------------------------------------------------------------------------


def folder(root: Path) -> Iterator[Entry]:
    """Any mesh files below a folder; the first folders are the classes, sidecars say the rest (see storage.cad.folder)."""
    return (
        Entry(
            collection="folder",
            uid=model.path.relative_to(root).as_posix(),
            path=model.path,
            class_name=None if model.class_name is None else suggestion(model.class_name),
            name=model.name,
            keywords=model.keywords,
            licence=model.licence,
            up=model.up,
            front=model.front,
            axes_by=model.axes_by,
            by_convention=model.by_convention,
            stands_in_for=model.stands_in_for,
            symmetry=model.symmetry,
            symmetry_origin=model.symmetry_origin,
        )
        for model in scan(root)
    )


_READERS: dict[str, Callable[[Path], Iterator[Entry]]] = {
    "shapenet": shapenet,
    "objaverse": objaverse,
    "omniobject3d": omniobject3d,
    "toys4k": toys4k,
    "folder": folder,
}


# -- files -------------------------------------------------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """Return what a JSON file (or a gzipped one) says. Raises BadCollection."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return json.loads(data)
    except (ValueError, OSError, EOFError) as error:
        raise BadCollection(f"{path} is no JSON: {str(error).splitlines()[0]}") from None


def _json_at(folder: Path, name: str) -> dict[str, Any]:
    path = next((choice for choice in (folder / name, folder / f"{name}.gz") if choice.is_file()), None)
    if path is None:
        return {}
    table = read_json(path)
    if not isinstance(table, dict):
        raise BadCollection(f"{path} is no JSON object of uid -> facts")
    return table


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _folders(path: Path) -> list[Path]:
    with os.scandir(path) as found:
        return sorted(Path(entry.path) for entry in found if entry.is_dir() and entry.name[0] not in "._")


def _files(root: Path) -> Iterator[Path]:
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if name[0] not in "._")
        yield from (Path(folder, name) for name in files if name[0] not in "._")
