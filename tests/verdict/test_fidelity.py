"""The judge of fidelity: each control by its own measure, and the lowest of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from models.control.canny import CannySpec
from models.control.geometry import GeometrySpec
from models.control.kinds import CONTROLS
from models.control.protocol import ControlSpec, Drawing, View
from models.verdict.fidelity import Fidelity, FidelitySpec
from tests.control.cast import cast
from tests.verdict.cars import mesh_of
from tests.verdict.seen import Seen


@dataclass(frozen=True, kw_only=True)
class FlatSpec(ControlSpec):
    """A toy: a grey picture, whose fidelity is how grey the image is."""

    implementation: ClassVar[str] = "tests.verdict.test_fidelity:Flat"
    version: ClassVar[int] = 1
    fidelity_version: ClassVar[int] = 1

    kind: Literal["flat"] = "flat"


class Flat(Drawing):
    def __init__(self, spec: FlatSpec) -> None:
        self.spec = spec

    def draw(self, view: View) -> NDArray[np.uint8]:
        return np.full(view.mask.shape, 128, np.uint8)

    def facts(self, drawn: NDArray[np.uint8]) -> dict[str, float]:
        return {"pixels": drawn.size, "density": 1.0}

    def fidelity(self, image: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> float:
        return 1.0 - float(np.abs(image.astype(float) - 128).mean()) / 128


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    CONTROLS.register(FlatSpec)
    yield
    CONTROLS.unregister(FlatSpec)


def seen(azimuth: float, *specs: ControlSpec, drawn_at: float | None = None) -> Seen:
    """A car, and controls drawn of it or of another pose."""
    mesh, colours = mesh_of(0)
    shown, drawn = (cast(mesh, angle, 20.0, 1.6, 128, colours) for angle in (azimuth, drawn_at or azimuth))
    view = View(rgba=drawn.rgba, mask=drawn.mask, depth=drawn.depth, normal=drawn.normal, K=drawn.K)
    return Seen(
        sample=Seen.of(shown.rgba, (azimuth, 20.0, 0.0)).sample,
        picture=np.where(shown.mask[..., None] > 0, shown.rgba[..., :3], 90).astype(np.uint8),
        annotation={},
        controls={spec.kind: spec for spec in specs},
        drawn={spec.kind: CONTROLS.load(spec).draw(view) for spec in specs},
    )


def test_the_lowest_of_an_images_fidelities_is_its_fidelity() -> None:
    evidence = [seen(40.0, CannySpec(), FlatSpec()), seen(40.0, CannySpec(), FlatSpec(), drawn_at=130.0)]
    scores = Fidelity(FidelitySpec()).judge(evidence).scores
    assert list(scores) == ["fidelity", "fidelity_canny", "fidelity_flat"]
    np.testing.assert_array_equal(scores["fidelity"], np.minimum(scores["fidelity_canny"], scores["fidelity_flat"]))
    assert scores["fidelity_canny"][0] > 0.7
    assert scores["fidelity_canny"][1] < 0.4
    own = CONTROLS.load(CannySpec())
    assert scores["fidelity_canny"][0] == own.fidelity(evidence[0].image(), evidence[0].control("canny"))


def test_a_control_that_shows_nothing_is_not_judged_and_the_others_are() -> None:
    blank = Seen(**{**vars(seen(40.0, CannySpec(), GeometrySpec())), "sample": seen(40.0).sample})
    blank.drawn["canny"][:] = 0  # type: ignore[index]
    empty = Seen(**{**vars(seen(40.0, CannySpec()))})
    empty.drawn["canny"][:] = 0  # type: ignore[index]
    judgement = Fidelity(FidelitySpec()).judge([blank, empty, seen(40.0, CannySpec())])
    assert np.isnan(judgement.scores["fidelity_canny"]).tolist() == [True, True, False]
    assert np.isnan(judgement.scores["fidelity_geometry"]).tolist() == [False, True, True]
    assert np.isnan(judgement.scores["fidelity"]).tolist() == [False, True, False]
    assert judgement.not_judged == "1 of 3 images have no control that shows anything to be found again"


def test_images_without_a_control_are_not_judged_and_none_at_all_are_no_error() -> None:
    judgement = Fidelity(FidelitySpec()).judge([seen(40.0)])
    assert np.isnan(judgement.scores["fidelity"]).all()
    assert judgement.not_judged is not None
    assert Fidelity(FidelitySpec()).judge([]).scores["fidelity"].shape == (0,)


def test_progress_counts_images() -> None:
    told: list[tuple[int, int]] = []
    Fidelity(FidelitySpec()).judge([seen(40.0, FlatSpec())] * 3, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_identity_names_the_version_of_each_controls_measure() -> None:
    controls = {"canny": CannySpec(), "flat": FlatSpec()}
    assert FidelitySpec().identity({"a": 4}, controls) == {"fidelity": {"canny": CannySpec.fidelity_version, "flat": 1}}
