"""Lights: they belong to their view, and no side of an object is left without."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from models.render.light import Light, sample_light
from models.render.spec import LightSpec, RenderSpec
from models.render.viewpoint import Pose, sample_view
from models.sample import ViewId

VIEW = Pose(azimuth_deg=70, elevation_deg=-20, inplane_deg=0, distance=2)


def lights(spec: LightSpec, n: int = 400) -> list[Light]:
    return [sample_light(spec, ViewId(class_name="car", cad_id="cd" * 32, view_index=index), VIEW) for index in range(n)]


@pytest.mark.parametrize("kind", ["sampled", "official"])
def test_some_light_comes_from_every_side(kind: str) -> None:
    assert all(light.ambient > 0.1 for light in lights(LightSpec(kind=kind)))  # type: ignore[arg-type]


def test_a_white_surface_that_faces_the_sun_is_as_bright_as_the_exposure_says() -> None:
    for light in lights(LightSpec()):
        assert 0.8 <= light.ambient + sum(lamp.strength for lamp in light.lamps) / math.pi <= 1.0 + 1e-9


def test_the_sun_stands_above_the_horizon_to_either_side_of_the_camera() -> None:
    suns = [light.lamps[0] for light in lights(LightSpec())]
    offsets = np.array([(sun.azimuth_deg - VIEW.azimuth_deg + 180) % 360 - 180 for sun in suns])
    assert (np.abs(offsets) >= 20).all()
    assert (np.abs(offsets) <= 100).all()
    assert 0.4 < (offsets > 0).mean() < 0.6
    assert all(25 <= sun.elevation_deg <= 75 for sun in suns)


def test_two_views_of_a_cad_model_have_different_light_and_one_view_always_the_same() -> None:
    first, second = lights(LightSpec(), 2)
    assert first != second
    assert lights(LightSpec(), 1)[0] == first


def test_the_official_light_is_the_same_for_every_view() -> None:
    assert len({light.lamps for light in lights(LightSpec(kind="official"))}) == 1


def test_the_lights_stream_is_not_the_poses() -> None:
    """Otherwise bright views would all look from one side."""
    ids = [ViewId(class_name="car", cad_id="cd" * 32, view_index=index) for index in range(400)]
    azimuths = [sample_view(RenderSpec().viewpoint, view).azimuth_deg for view in ids]
    ambients = [light.ambient for light in lights(LightSpec())]
    assert abs(np.corrcoef(azimuths, ambients)[0, 1]) < 0.15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "candle"}, "must be sampled or official"),
        ({"ambient_share_range": (0.0, 0.5)}, "ambient_share_range"),
        ({"fill_share": 0.9}, "fill_share"),
        ({"exposure_range": (2, 1)}, "exposure_range"),
    ],
)
def test_a_light_spec_that_cannot_be_meant_says_what_is_wrong(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(LightSpec(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 8}, "resolution is 8"),
        ({"samples": 0}, "samples is 0"),
        ({"denoiser": "best"}, "must be fast, default or none"),
        ({"margin": 0.5}, "margin"),
        ({"lens_mm": 0}, "lens_mm"),
    ],
)
def test_a_render_spec_that_cannot_be_meant_says_what_is_wrong(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RenderSpec(), **change)  # type: ignore[arg-type]
