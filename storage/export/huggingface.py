"""Hugging Face: Parquet files with the pictures inside, a dataset card, and a Croissant description.

Enters: an export. Leaves: `data/train-*.parquet`, `README.md` with the header the Hub reads, `croissant.json` (JSON-LD). The
folder loads offline and can be uploaded as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from storage.export.format import Export, write_json
from storage.export.rows import PROVENANCE, SamplePictures

ROWS = 32
"""Samples in a row group: what a reader of one row has to read."""
_NUMBERS = (
    "azimuth_deg", "elevation_deg", "inplane_deg", "distance", "depth_scale", "visible_fraction", "truncated_fraction",
)  # fmt: skip
_WHOLE = ("width", "height", "view_index", "draw_index", "seed", "attempt", "kept")
_TEXTS = tuple(name for name in ("class_name", *PROVENANCE) if name not in (*_NUMBERS, *_WHOLE))
_LISTS = {"box": 1, "K": 2, "R": 2, "t": 1, "box3d": 2, "box3d_extents": 1}
"""Name -> how deep its lists are nested."""
_PICTURES = ("image", "mask", "depth")


class HuggingFace:
    """See storage.export.format.Format."""

    name = "huggingface"
    contents = """
- `data/train-*.parquet`: a row a sample: `image`, `mask` (0 or 255), `depth` (16 bit, steps of `depth_scale` longest sides),
  `label`, pose, K, R, t, `box` (first and last column and row of the mask), `box3d` (eight projected corners), prompt, seed,
  each score under its name (null where it was not judged), digests and the rest of where it comes from.
- `croissant.json`: the same table described in Croissant (JSON-LD).
"""
    loading = """
from datasets import load_dataset

dataset = load_dataset("parquet", data_files=f"{OUT}/data/*.parquet", split="train")
row = dataset[0]
image, depth, K, R, t = row["image"], row["depth"], row["K"], row["R"], row["t"]
"""

    def piece(self, export: Export, number: int, pictures: Iterator[SamplePictures]) -> list[Any]:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        with export.folder.open(_file(export, number)) as file, parquet.ParquetWriter(file, _schema(export)) as writer:
            while shown := list(islice(pictures, ROWS)):
                writer.write_table(pa.Table.from_pylist([_row(export, one) for one in shown], _schema(export)))
        return []

    def finish(self, export: Export) -> None:
        with export.folder.open("croissant.json") as file:
            write_json(file, croissant(export))


def _row(export: Export, shown: SamplePictures) -> dict[str, Any]:
    name = shown.sample.name
    facts = shown.annotation()
    return {
        "image": {"bytes": shown.image, "path": f"{name}.png"},
        "mask": {"bytes": shown.mask_png, "path": f"{name}.mask.png"},
        "depth": {"bytes": shown.depth_png, "path": f"{name}.depth.png"},
        "label": export.class_ids[shown.sample.class_name] - 1,
        **{column: facts[column] for column in (*_NUMBERS, *_WHOLE, *_TEXTS, *_LISTS)},
        **{column: facts[group].get(name) for column, (group, name) in _named(export).items()},
    }


def _named(export: Export) -> dict[str, tuple[str, str]]:
    return export.named((*_PICTURES, "label", *_NUMBERS, *_WHOLE, *_TEXTS, *_LISTS))


def _columns(export: Export) -> dict[str, str]:
    """Return every column that is a single value -> its kind: int64, float64 or string."""
    named = {column: "float64" if group == "scores" else "string" for column, (group, _) in _named(export).items()}
    kinds = (("float64", _NUMBERS), ("int64", _WHOLE), ("string", _TEXTS))
    return {name: kind for kind, names in kinds for name in names} | named


def header(export: Export) -> str:
    """Return the YAML that the Hub reads at the top of the card."""
    samples = int(export.facts["samples"])
    limits = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))
    size = next((word for limit, word in limits if samples < limit), "10M<n<100M")
    return _HEADER.format(name=json.dumps(export.name), size=size)


_HEADER = """---
pretty_name: {name}
license: other
license_name: of-the-cad-models
task_categories:
- image-classification
- object-detection
- image-segmentation
- depth-estimation
tags:
- synthetic
- 3d
- pose-estimation
- 3d-dst
size_categories:
- {size}
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
---
"""


def croissant(export: Export) -> dict[str, Any]:
    """Return the Croissant 1.0 description as JSON types."""
    record = "samples"

    def field(name: str, kind: str, **more: Any) -> dict[str, Any]:
        source = {"fileSet": {"@id": "parquet"}, "extract": {"column": name}}
        return {"@type": "cr:Field", "@id": f"{record}/{name}", "name": name, "dataType": kind, "source": {**source, **more}}

    pictures = [field(name, "sc:ImageObject", transform={"jsonPath": "bytes"}) for name in _PICTURES]
    types = {"float64": "sc:Float", "int64": "sc:Integer", "string": "sc:Text"}
    fields = [*pictures, field("label", "sc:Integer"), *(field(name, types[kind]) for name, kind in _columns(export).items())]
    classes = ", ".join(export.class_ids)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": export.name,
        "description": f"{export.facts['samples']} generated images with exact 3D annotations of: {classes}. Chosen by: "
        f"{export.facts['query']}.",
        "license": sorted(export.facts["licences"]),
        "version": "1.0.0",
        "datePublished": export.facts["created_at"][:10],
        "creator": {"@type": "sc:Organization", "name": export.facts["code"]},
        "keywords": ["synthetic", "3D", "pose estimation", *export.class_ids],
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": "parquet",
                "name": "parquet",
                "description": "The rows, with the pictures inside.",
                "encodingFormat": "application/x-parquet",
                "includes": "data/*.parquet",
            }
        ],
        "recordSet": [
            {"@type": "cr:RecordSet", "@id": record, "name": record, "description": "A row a sample.", "field": fields}
        ],
    }


_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in (
            "citeAs", "column", "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes",
            "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated",
            "replace", "separator", "source", "subField", "transform",
        )
    },
}  # fmt: skip
"""What Croissant 1.0 prescribes."""


def _schema(export: Export) -> Any:
    import pyarrow as pa

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

    def nested(name: str, depth: int) -> Any:
        kind = pa.int64() if name == "box" else pa.float64()
        for _ in range(depth):
            kind = pa.list_(kind)
        return kind

    columns = [
        *((name, picture) for name in _PICTURES),
        ("label", pa.int64()),
        *((name, getattr(pa, kind)()) for name, kind in _columns(export).items()),
        *((name, nested(name, depth)) for name, depth in _LISTS.items()),
    ]
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": _features(export)}})})


def _features(export: Export) -> dict[str, Any]:
    def value(kind: str) -> Any:
        return {"dtype": kind, "_type": "Value"}

    def nested(name: str, depth: int) -> Any:
        kind = value("int64" if name == "box" else "float64")
        for _ in range(depth):
            kind = [kind]
        return kind

    return {
        **{name: {"_type": "Image"} for name in _PICTURES},
        "label": {"names": list(export.class_ids), "_type": "ClassLabel"},
        **{name: value(kind) for name, kind in _columns(export).items()},
        **{name: nested(name, depth) for name, depth in _LISTS.items()},
    }


def _file(export: Export, number: int) -> str:
    return f"data/train-{number:05d}-of-{len(export.selection.pieces):05d}.parquet"
