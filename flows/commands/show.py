"""`dst show`: where a sample or a picture comes from, and the chain of files behind it.

Enters: a sample's name, or a PNG. Leaves: text for a terminal. A picture needs no catalog: it says itself what it is; where the
catalog knows it, what it says of itself is set beside what is on record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.compare import NOT_COMPARED
from flows.history import members_of
from models.sample import SampleId
from storage.artifacts import RECORD, ArtifactStore, DamagedArtifact, MissingArtifact, at
from storage.catalog.catalog import Catalog
from storage.catalog.database import CatalogError
from storage.images import UnreadablePicture, png_text
from storage.keys import digest
from storage.settings import Settings
from storage.stages import OF_A_SAMPLE
from tasks.passport import NAME

Row = Mapping[str, Any]

_STAGES = (*OF_A_SAMPLE, "verdict")
"""The stages whose artifact a row of the view `provenance` names."""


def show(settings: Settings, sample_id: str, recipe: str | None = None) -> None:
    """Print everything known of a sample, under every recipe it was made with. Raises ValueError for an unknown one."""
    for row in provenance(settings, sample_id, recipe):
        _print(row)
        _print_files(settings, row)


def show_image(settings: Settings, path: Path) -> None:
    """Print where a picture comes from, by the text inside it. Raises ValueError for a file that says nothing of itself."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    data = path.read_bytes()
    said = passport_of(path, data)
    rows, silence = _known(settings, said)
    if not rows:
        _print(from_passport(said))
        print(f"\n{silence}: this is what the picture says of itself")
        return
    for row in rows:
        _print(row)
        _print_files(settings, row)
    print(f"\n{path}: {_whose_bytes(settings, said, data)}")


def passport_of(path: Path, data: bytes) -> dict[str, Any]:
    """Return what a PNG says of itself; a mask or depth map that lies in the store is told by the record beside it."""
    try:
        text = png_text(data).get(NAME)
        said = json.loads(text) if text is not None else None
    except UnreadablePicture:
        raise ValueError(f"{path} is not a PNG picture; pictures made here are PNG and say what they are") from None
    except (ValueError, IndexError):
        raise ValueError(f"{path}: the text inside it is damaged") from None
    beside = path.parent / RECORD
    if said is None and beside.is_file():
        record = json.loads(beside.read_bytes())
        view = {name: record["inputs"].get(name) for name in ("class_name", "cad_id", "view_index")}
        said = {name: record[name] for name in ("stage", "key", "spec")} | {"view": view, "annotation": record["values"]}
    if not isinstance(said, dict) or "key" not in said:
        raise ValueError(
            f"{path} says nothing of where it comes from: it was not made here, or another program has written it anew "
            "and dropped the text inside"
        )
    return said


def provenance(settings: Settings, sample_id: str, recipe: str | None = None) -> list[Row]:
    """Return the sample's rows of the view `provenance`, present cohorts first, JSON columns parsed. Raises ValueError."""
    catalog = Catalog(settings.catalog, settings.store)
    members = members_of(catalog, sample_id, recipe)
    rows = catalog.provenance(sample_id)
    order = [(member["recipe"], member["image_key"]) for member in members]
    found = [_parsed(row) for row in rows if (row["recipe"], row["image_key"]) in order]
    return sorted(found, key=lambda row: order.index((row["recipe"], row["image_key"])))


def from_passport(said: Row) -> Row:
    """Return what a picture says of itself under the names of the view `provenance`; what it does not say is not there."""
    specs = said.get("specs") or {said["stage"]: said.get("spec") or {}}
    annotation, caption = said.get("annotation") or {}, said.get("caption") or {}
    identity = said.get("identity") or said.get("view") or {}
    render, controls, image = (specs.get(stage) or {} for stage in ("render", "control", "image"))
    # A picture of a control says its one spec, an image those of all its controls.
    controls = {controls["kind"]: controls} if "kind" in controls else controls
    box = annotation.get("box") or (None,) * 4
    row: dict[str, Any] = {
        **identity,
        **{name: value for name, value in annotation.items() if not isinstance(value, (list, dict))},
        "sample_id": said.get("sample") or f"a {said['stage']} (key {said['key']})",
        **dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), box, strict=True)),
        "light": annotation.get("light"),
        "light_kind": (render.get("light") or {}).get("kind"),
        "control_kind": next(iter(controls), None),
        "control_settings": next(iter(controls.values()), None),
        "controls": dict.fromkeys(controls),
        **{name: caption.get(name) for name in ("prompt", "negative_prompt", "captioner", "captioner_revision")},
        "generator": image.get("model", image.get("kind")),
        "generator_revision": image.get("revision"),
        **{name: image.get(name) for name in ("control_model", "control_revision", "scheduler", "steps", "guidance", "eta")},
        "control_scale": image.get("control_scale"),
        "dtype": image.get("dtype"),
        "seed": said.get("seed"),
        "attempt": said.get("attempt"),
        **{f"{stage}_key": _first(key) for stage, key in (said.get("keys") or {said["stage"]: said["key"]}).items()},
    }
    if said.get("render"):
        row["render_key"] = said["render"]
    return row


def _known(settings: Settings, said: Row) -> tuple[list[Row], str]:
    """Return the rows of the samples that rest on a picture, or none and why."""
    catalog = Catalog(settings.catalog, settings.store)
    try:
        if not catalog.exists:
            return [], f"there is no catalog at {catalog.database}"
        rows = [row for name in _sample_ids(catalog, said) for row in provenance(settings, name)]
    except CatalogError as error:
        return [], str(error)
    rows = [row for row in rows if said["key"] in (row[f"{said['stage']}_key"], *(row["controls"] or {}).values())]
    return rows, f"the catalog at {catalog.database} does not know it"


def _sample_ids(catalog: Catalog, said: Row) -> list[str]:
    identity = said.get("identity") or said.get("view") or {}
    if identity.get("cad_id") is None:
        view = catalog.view_of(str(said.get("render") or said["key"]))
        if view is None:
            return []
        identity = view
    first = SampleId(draw_index=0, **{name: identity[name] for name in ("class_name", "cad_id", "view_index")})
    return catalog.sample_ids(str(first)[:-2])


def _whose_bytes(settings: Settings, said: Row, data: bytes) -> str:
    record = Catalog(settings.catalog, settings.store).record(said["key"])
    if record is not None and digest(data) in {facts["sha256"] for facts in record.files.values()}:
        return "the bytes on record"
    return "not the bytes on record: the picture was changed after it was made, or made again elsewhere"


def _print(row: Row) -> None:
    print(f"\n{row['sample_id']}")
    for name, parts in _sections(row):
        said = [part for part in parts if part]
        if said:
            print(f"  {name:<10}{said[0]}")
            for part in said[1:]:
                print(f"  {'':<10}{part}")


def _sections(row: Row) -> Iterator[tuple[str, list[str]]]:
    get = row.get

    def number(name: str, form: str = "g", before: str = "", after: str = "") -> str:
        return f"{before}{get(name):{form}}{after}" if get(name) is not None else ""

    yield "state", [_joined(get("status"), _cohort(row)), str(get("why") or ""), str(get("detail") or "")]
    yield (
        "CAD model",
        [
            _joined(get("class_name"), get("cad_name"), f"cad_id {get('cad_id')}" if get("cad_id") else ""),
            _said("file", get("cad_source")),
            _joined(_said("collection", get("collection")), _said("uid", get("uid"))),
            _said("licence", get("licence") or ("not said" if get("cad_source") else None)),
            _said("keywords", get("keywords")),
            _joined(_said("up", get("up")), _said("front", get("front")), _said("symmetry", get("symmetry"))),
        ],
    )
    yield "pose", [
        _joined(number("azimuth_deg", ".2f", "azimuth ", "°"), number("elevation_deg", ".2f", "elevation ", "°"),
                number("inplane_deg", ".2f", "in-plane ", "°"), number("distance", ".4f", "distance ")),
        f"asked for {get('requested_distance'):.4f}, moved back until the object fitted" if get("moved_back") else "",
    ]  # fmt: skip
    yield "light", [str(get("light_kind") or ""), *_lamps(get("light"))]
    yield "crop", [
        _joined(f"{get('width')} x {get('height')} px" if get("width") else "",
                f"box {get('box_x0'):g}, {get('box_y0'):g} to {get('box_x1'):g}, {get('box_y1'):g}" if get("box_x0") is not None
                else "",
                number("visible_fraction", ".1%", after=" visible"), number("truncated_fraction", ".1%", after=" cut off")),
        f"judged on a square cut {get('judged_margin'):g} times the box, {get('judged_side')} px" if get("judged_side") else "",
    ]  # fmt: skip
    yield "control", [_control(row), *_more_controls(row)]
    yield (
        "caption",
        [
            str(get("prompt") or ""),
            f"negative: {get('negative_prompt')}" if get("negative_prompt") else "",
            _joined(get("captioner"), _said("revision", get("captioner_revision"))),
        ],
    )
    yield "image", [
        _joined(get("generator"), _said("revision", get("generator_revision"))),
        _joined(_said("control", get("control_model")), _said("revision", get("control_revision"))),
        _joined(get("scheduler"), number("steps", after=" steps"), number("guidance", "g", "guidance "),
                number("control_scale", "g", "control scale "), number("eta", "g", "eta "), get("dtype")),
        _joined(_said("seed", get("seed")), _said("attempt", get("attempt"))),
        _joined(*(_said(name, value) for name, value in (get("image_runtime") or {}).items() if name not in NOT_COMPARED)),
    ]  # fmt: skip
    yield "verdict", [
        str(get("rule") or ""),
        _joined(*(number(name, ".4g", f"{name} ") for name in _scores(row))),
        *(_said(judge, facts.get("words")) for judge, facts in (get("judges") or {}).items()),
    ]  # fmt: skip
    yield (
        "code",
        [
            _joined(get("code"), get("machine"), _said("Python", get("python"))),
            _joined(*(f"{name} {version}" for name, version in (get("packages") or {}).items())),
        ],
    )
    yield (
        "run",
        [
            _joined(_said("made by", get("made_by_run")), get("made_by_url"), get("made_by_started_at")),
            _said("first listed by", get("first_run_id")) if get("first_run_id") != get("made_by_run") else "",
            _joined(_said("listed by", get("run_id")), get("flow_run_url")) if get("run_id") != get("first_run_id") else "",
        ],
    )
    if get("image_files") is None:
        yield "keys", [f"{stage:<8} {row[f'{stage}_key']}" for stage in _STAGES if get(f"{stage}_key")]


def _cohort(row: Row) -> str:
    if not row.get("recipe"):
        return ""
    return f"{'in' if row.get('in_cohort') else 'no longer in'} the cohort of recipe {row['recipe']}"


def _first(key: Any) -> Any:
    """Return the key of a stage's artifact; of a sample's controls, that of the first in order of kind."""
    return next(iter(key.values())) if isinstance(key, dict) else key


def _control(row: Row) -> str:
    if not row.get("control_kind"):
        return ""
    parts = [f"{name} {value}" for name, value in (row.get("control_settings") or {}).items() if name != "kind"]
    found = f"{row['control_pixels']} pixels" if row.get("control_pixels") is not None else ""
    return _joined(row["control_kind"], *parts, found)


def _more_controls(row: Row) -> list[str]:
    return [_joined(kind, key and f"key {key}") for kind, key in _other_controls(row).items()]


def _other_controls(row: Row) -> Row:
    """Return kind -> key of the controls behind the first."""
    return {kind: key for kind, key in (row.get("controls") or {}).items() if kind != row.get("control_kind")}


def _scores(row: Row) -> list[str]:
    """Return the names of the scores that rules looked at, then of the judges' others (a judge's scores begin with its name)."""
    asked = [str(rule["score"]) for rule in row.get("rules") or ()]
    judges = tuple(row.get("judges") or ())
    return list(dict.fromkeys([*asked, *(name for name in row if judges and name.startswith(judges))]))


def _lamps(light: Any) -> list[str]:
    if not isinstance(light, dict):
        return []
    lamps = [
        f"{lamp.get('kind')} at azimuth {lamp.get('azimuth_deg', 0):.1f}°, elevation {lamp.get('elevation_deg', 0):.1f}°, "
        f"strength {lamp.get('strength', 0):.3g}, size {lamp.get('size', 0):.3g}"
        for lamp in light.get("lamps") or ()
    ]
    return [*lamps, f"from all sides {light['ambient']:.3g}" if light.get("ambient") is not None else ""]


def _print_files(settings: Settings, row: Row) -> None:
    print(f"  {'files':<10}source   {row.get('cad_source') or ''}  {_source_state(row)}")
    for stage, key, folder, files in _artifacts(settings.store, row):
        print(f"  {'':<10}{stage:<8} {settings.store.where}/{folder}" + ("" if files else "  no files"))
        for name, facts in sorted((files or {}).items()):
            print(f"  {'':<19}{name:<16} sha256 {facts['sha256']}  {_state(settings.store, folder, key, name)}")


def _artifacts(store: ArtifactStore, row: Row) -> Iterator[tuple[str, str, str, Row]]:
    """Yield stage, key, folder and files of each artifact of a sample; its row has one control, the store the others."""
    for stage in _STAGES:
        if key := row.get(f"{stage}_key"):
            yield stage, key, str(row.get(f"{stage}_folder")), row.get(f"{stage}_files") or {}
        if stage == "control":
            for other in _other_controls(row).values():
                artifact = store.find(stage, other)
                yield stage, other, at(stage, other), artifact.record.files if artifact is not None else {}


def _source_state(row: Row) -> str:
    there = Path(str(row.get("cad_source"))).is_file()
    return "there" if there else "not there any more"


def _state(store: ArtifactStore, folder: str, key: str, name: str) -> str:
    # The folder of an old home's control is still called edge.
    stage = folder.partition("/")[0]
    try:
        store.read(store.get(stage, key), name)
    except MissingArtifact:
        return "not in the store"
    except (DamagedArtifact, KeyError):
        return "damaged or missing; the next run makes it again"
    return "sound"


def _parsed(row: Row) -> Row:
    """Return a row with JSON columns parsed: SQLite hands them over as text."""
    return {name: _json(value) for name, value in row.items()}


def _json(value: Any) -> Any:
    if not isinstance(value, str) or value[:1] not in "[{":
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _joined(*parts: Any) -> str:
    return ", ".join(str(part) for part in parts if part not in (None, ""))


def _said(name: str, value: Any) -> str:
    return f"{name} {value}" if value not in (None, "") else ""
