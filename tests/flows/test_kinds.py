"""Proof that the house is ready: kinds that this file alone knows go through a whole run, to catalog, report and release.

A toy of each kind, as docs/architecture.md tells how to add one, registered here and nowhere else: a control, a captioner, a
generator, a judge, a rule, and a place for bytes. No source file names any of them.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from models.caption.kinds import CAPTIONERS
from models.caption.protocol import Caption, CaptionRequest, CaptionSpec, Means, OneByOne
from models.control.kinds import CONTROLS
from models.control.protocol import ControlSpec, Drawing, View
from models.image.kinds import GENERATORS
from models.image.protocol import GeneratedImage, ImageRequest, ImageSpec
from models.verdict.kinds import JUDGES, RULES
from models.verdict.protocol import Evidence, Judgement, JudgeSpec, RuleSpec
from storage.blobs.door import PLACES
from tests.flows.conftest import ROOT, Home

HERE = "tests.flows.test_kinds"


# -- a control ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SilhouetteSpec(ControlSpec):
    """The object's mask, filled."""

    implementation: ClassVar[str] = f"{HERE}:Silhouette"
    version: ClassVar[int] = 1
    fidelity_version: ClassVar[int] = 1

    kind: Literal["silhouette"] = "silhouette"
    grey: int = 200


class Silhouette(Drawing):
    def __init__(self, spec: SilhouetteSpec) -> None:
        self.spec = spec

    def draw(self, view: View) -> NDArray[np.uint8]:
        return np.where(view.mask != 0, self.spec.grey, 0).astype(np.uint8)

    def facts(self, drawn: NDArray[np.uint8]) -> dict[str, float]:
        pixels = int(np.count_nonzero(drawn))
        return {"pixels": pixels, "density": pixels / drawn.size}

    def fidelity(self, image: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> float:
        inside = drawn > 0
        return float(inside.mean()) and abs(float(image[inside].mean()) - float(image[~inside].mean())) / 255.0


# -- a captioner -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ShoutingSpec(CaptionSpec):
    """The class, in capitals."""

    implementation: ClassVar[str] = f"{HERE}:Shouting"
    version: ClassVar[int] = 1

    kind: Literal["shouting"] = "shouting"
    marks: int = 3


class Shouting(OneByOne):
    def __init__(self, spec: ShoutingSpec, means: Means) -> None:
        self.spec = spec

    def caption(self, request: CaptionRequest) -> Caption:
        return Caption(
            prompt=request.class_name.upper() + "!" * self.spec.marks,
            negative_prompt="",
            words={"class_name": request.class_name},
            captioner="shouting",
            revision="1",
        )


# -- a generator -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StencilSpec(ImageSpec):
    """The silhouette in a colour of the sample's own, on white, with its lines in black."""

    implementation: ClassVar[str] = f"{HERE}:Stencil"
    version: ClassVar[int] = 1

    kind: Literal["stencil"] = "stencil"
    resolution: int = 64


class Stencil:
    batch = 8

    def __init__(self, spec: StencilSpec, **runtime: Any) -> None:
        self.spec = spec

    @property
    def runtime(self) -> dict[str, Any]:
        return {"device": "paper"}

    def generate(self, requests: Sequence[ImageRequest], progress: Any = None) -> list[GeneratedImage]:
        made = []
        for request in requests:
            assert request.prompt == "CAR!!!", "the toy captioner's words reach the toy generator"
            voxels = request.controls["voxels"]
            assert voxels.shape[2] == 33, "a control reaches the generator with all its channels, however it is kept"
            assert np.array_equal(voxels[..., 0], request.controls["canny"])
            seed = request.sample.seed("image")
            rgb = np.full((self.spec.resolution, self.spec.resolution, 3), 255, np.uint8)
            rgb[request.controls["silhouette"] > 0] = [seed % 150, seed // 150 % 150, seed // 22500 % 150]
            rgb[request.controls["canny"] > 0] = 0
            made.append(GeneratedImage(sample=request.sample, rgb=rgb, seed=seed, attempt=0))
        return made

    def resampled(self, spec: StencilSpec) -> Stencil:
        return Stencil(spec)


# -- a judge and a rule ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DarknessSpec(JudgeSpec):
    """How dark an image is; the first image of each CAD model is left unjudged."""

    implementation: ClassVar[str] = f"{HERE}:Darkness"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("darkness",)

    kind: Literal["darkness"] = "darkness"


class Darkness:
    def __init__(self, spec: DarknessSpec, device: str = "cpu", threads: int | None = None) -> None:
        self.spec = spec

    def judge(self, evidence: Sequence[Evidence], progress: Callable[[int, int], None] | None = None) -> Judgement:
        values = np.array([np.nan if one.sample.view_index == 0 else 1 - one.image().mean() / 255 for one in evidence])
        return Judgement(scores={"darkness": values}, facts={"words": "how dark it is"}, not_judged="first views are left out")


@dataclass(frozen=True, kw_only=True)
class OddRankSpec(RuleSpec):
    """Drops every second of the judged images, the darkest among them."""

    implementation: ClassVar[str] = f"{HERE}:OddRank"

    kind: Literal["odd_rank"] = "odd_rank"


class OddRank:
    def __init__(self, spec: OddRankSpec) -> None:
        self.spec = spec

    def decide(self, values: NDArray[np.float64]) -> tuple[list[bool | None], str, float | None]:
        judged = [float(value) for value in values if not np.isnan(value)]
        rank = {value: place for place, value in enumerate(sorted(judged, reverse=True))}
        return [None if np.isnan(v) else rank[float(v)] % 2 == 1 for v in values], "every second one in darkness", None


# -- a place for bytes -------------------------------------------------------------------------------------------------


class Pile:
    """Bytes in a dictionary of this process: nothing of the store is on any disk."""

    folder = None

    def __init__(self, where: str) -> None:
        self.where = where
        self.files: dict[str, bytes] = {}

    def put(self, group: str, files: Mapping[str, bytes]) -> bool:
        last = list(files)[-1]
        if f"{group}/{last}" in self.files:
            return False
        self.files.update({f"{group}/{name}": data for name, data in files.items()})
        return True

    def write(self, name: str, data: bytes) -> None:
        self.files[name] = data

    def get(self, name: str) -> bytes:
        try:
            return self.files[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    def size(self, name: str) -> int | None:
        return len(self.files[name]) if name in self.files else None

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            path.write_bytes(self.get(name))
            yield path

    def names(self, path: str) -> list[str]:
        start = f"{path}/" if path else ""
        return sorted({name[len(start) :].split("/")[0] for name in list(self.files) if name.startswith(start)})

    def age_s(self, group: str) -> float:
        if not self.names(group):
            raise FileNotFoundError(group)
        return 0.0

    def move(self, group: str, to: str) -> bool:
        moved = [name for name in list(self.files) if name.startswith(f"{group}/")]
        for name in moved:
            self.files[to + name[len(group) :]] = self.files.pop(name)
        return bool(moved)

    def remove(self, group: str) -> None:
        for name in [name for name in list(self.files) if name.startswith(f"{group}/")]:
            del self.files[name]

    def try_writing(self) -> None:
        pass

    def sweep(self, older_than_s: float, every_s: float = 0.0) -> int:
        return 0


_piles: dict[str, Pile] = {}


def pile_at(url: str) -> Pile:
    return _piles.setdefault(url, Pile(url))


# -- the run -----------------------------------------------------------------------------------------------------------


def register() -> None:
    """Six lines: all that the platform is told."""
    CONTROLS.register(SilhouetteSpec)
    CAPTIONERS.register(ShoutingSpec)
    GENERATORS.register(StencilSpec)
    JUDGES.register(DarknessSpec)
    RULES.register(OddRankSpec)
    PLACES["pile"] = f"{HERE}:pile_at"


RECIPE = """
name = "toys"
[render]
resolution = 64
samples = 1
[controls.silhouette]
grey = 180
[controls.voxels]
[caption]
kind = "shouting"
[image]
kind = "stencil"
[verdict.judges.darkness]
[verdict.rules]
control = false
pose = false
[verdict.rules.odd]
kind = "odd_rank"
score = "darkness"
reason = "odd_in_darkness"
"""


def main(folder: Path) -> None:
    """Do what a user does, in one process, since the pile is gone with it."""
    from flows.cli import app
    from models.cad import parametric

    register()
    recipe = folder / "toys.toml"
    recipe.write_text(RECIPE)
    models = folder / "cars"
    models.mkdir()
    for seed in (31_000, 31_001):
        (models / f"car-{seed}.glb").write_bytes(parametric.glb("car", seed))

    def dst(*command: str) -> None:
        app(list(command), exit_on_error=False, result_action="return_value")

    dst("cad", "add", str(models), "--class", "car")
    dst("run", "car", "--samples", "8", "--recipe", "embedded-quick", "--overrides", str(recipe))
    dst("run", "car", "--samples", "8", "--recipe", "embedded-quick", "--overrides", str(recipe))
    dst("sql", "select * from samples order by sample_id", "--format", "json", "--out", str(folder / "samples.json"))
    dst("sql", "select * from scores order by image_key, name", "--format", "json", "--out", str(folder / "scores.json"))
    dst("sql", "select * from image_controls", "--format", "json", "--out", str(folder / "controls.json"))
    dst("sql", "select * from runs where kind = 'generate'", "--format", "json", "--out", str(folder / "runs.json"))
    dst("export", "imagefolder", str(folder / "out"), "--name", "toys-v1")
    dst("show", json.loads((folder / "samples.json").read_text())[0]["sample_id"])
    dst("reproduce", json.loads((folder / "samples.json").read_text())[1]["sample_id"])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, server: Any) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("toys")
    home = Home(folder / "home", server.api)
    run = subprocess.run(
        [sys.executable, "-c", f"from pathlib import Path; from {HERE} import main; main(Path({str(folder)!r}))"],
        cwd=ROOT, env=home.settings | {"DST_STORE_URL": "pile://toys"}, text=True, capture_output=True, timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return folder, run.stdout + run.stderr


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    return list(json.loads((folder / f"{name}.json").read_text()))


@pytest.mark.slow
def test_a_toy_control_is_drawn_beside_the_edges_and_named_in_rows(done: tuple[Path, str]) -> None:
    folder, _ = done
    controls = read(folder, "controls")
    assert {row["kind"] for row in controls} == {"canny", "silhouette", "voxels"}
    assert len(controls) == 24
    of_images = {(row["image_key"], row["kind"]) for row in controls}
    assert len(of_images) == 24, "each of the 8 images obeys all three"


@pytest.mark.slow
def test_a_toy_captioner_and_generator_make_the_images(done: tuple[Path, str]) -> None:
    samples = read(done[0], "samples")
    assert len(samples) == 8
    assert {row["status"] for row in samples} == {"made"}
    assert {(row["prompt"], row["captioner"], row["model_id"]) for row in samples} == {("CAR!!!", "shouting", "stencil")}


@pytest.mark.slow
def test_a_toy_judge_scores_and_a_toy_rule_decides_and_what_nobody_judged_is_null(done: tuple[Path, str]) -> None:
    folder, _ = done
    samples = read(folder, "samples")
    by_view = {kept: [row["view_index"] for row in samples if row["kept"] == kept] for kept in (None, 0, 1)}
    assert by_view[None] == [0, 0], "the judge leaves first views out, and no other rule is there to decide over them"
    assert len(by_view[0]) == len(by_view[1]) == 3
    assert {row["drop_reason"] for row in samples if row["kept"] == 0} == {"odd_in_darkness"}
    assert all((row["darkness"] is None) == (row["kept"] is None) for row in samples), "the wide view has the toy's column"
    assert sum(row["name"] == "darkness" for row in read(folder, "scores")) == 6


@pytest.mark.slow
def test_report_and_release_show_the_toys(done: tuple[Path, str]) -> None:
    folder, said = done
    (run,) = read(folder, "runs")
    assert run["status"] == "complete", run["reason"]
    assert "2 not judged" in said
    page = (folder / "home" / "reports" / f"{run['run_id']}.html").read_text()
    for name in ("silhouette", "canny", "darkness", "CAR!!!", "odd in darkness", "not judged"):
        assert name in page, name
    pictures = list((folder / "out").rglob("*.png"))
    assert len([path for path in pictures if "mask" not in path.name]) == 3
    assert "darkness" in (folder / "out" / "README.md").read_text()


@pytest.mark.slow
def test_nothing_of_a_store_elsewhere_lies_in_the_home_folder(done: tuple[Path, str]) -> None:
    folder, said = done
    assert not (folder / "home" / "artifacts").exists()
    assert "nothing to make" in said, "the second run found all of it in the pile"
    assert "same bytes at every stage" in said, "reproduce walks the same graph"


def test_every_door_refuses_two_kinds_of_one_name() -> None:
    for door, spec in ((CONTROLS, SilhouetteSpec), (CAPTIONERS, ShoutingSpec), (GENERATORS, StencilSpec), (JUDGES, DarknessSpec)):
        twin = dataclass(frozen=True, kw_only=True)(type("Twin", (spec,), {}))
        door.register(spec)  # type: ignore[attr-defined]
        try:
            with pytest.raises(ValueError, match="two kinds"):
                door.register(twin)  # type: ignore[attr-defined]
        finally:
            door.unregister(spec)  # type: ignore[attr-defined]


def test_this_file_alone_knows_the_toys() -> None:
    names = ("silhouette", "shouting", "stencil", "darkness", "odd_rank")
    for room in ("flows", "tasks", "models", "storage"):
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text()
            assert not [name for name in names if f'"{name}"' in text], path


def test_the_page_that_tells_how_to_add_one_is_true() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    sections = re.findall(r"### Add an? (.+)\n\n((?:\d\. .+\n)+)", page)
    assert [name for name, _ in sections] == [
        "control", "captioner", "generator", "judge or a rule", "export format", "place for bytes",
    ]  # fmt: skip
    for name, steps in sections:
        assert len(steps.splitlines()) == 6, name
        folder, module, tables = re.search(r"file `\w+\.py` in `([\w/]+)`", steps), *_door(steps)
        assert folder is not None, name
        assert (ROOT / folder[1]).is_dir(), name
        for table in tables:
            assert hasattr(importlib.import_module(module), table), f"{module} has no {table}"


def _door(steps: str) -> tuple[str, list[str]]:
    """Return the module and the tables in which a step says that one line is written."""
    line = re.search(r"One line in `([\w/]+)\.py`: (.+)", steps)
    assert line is not None, steps
    return line[1].replace("/", "."), re.findall(r"`([A-Z]+)`", line[2])
