"""`dst show` of samples with more than one control."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.commands import show
from models.image.kinds import GENERATORS
from storage.settings import Settings
from tasks.plan.place import Place
from tests.flows.test_place import PlainSpec, planned, run


@pytest.fixture(autouse=True)
def _plain_generator() -> Iterator[None]:
    GENERATORS.register(PlainSpec)
    yield
    GENERATORS.unregister(PlainSpec)


def test_a_picture_of_each_control_of_a_sample_tells_where_it_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(home=tmp_path / "home", catalog_url="", store_url="", threads=1, batch=2)
    here = Place.of(settings)
    cohort = planned(here, 30_000, {"controls": {"geometry": {}}})
    run(here, cohort)
    sample = cohort.samples[0]
    pictures = {}
    for kind, key in sample.keys["control"].items():
        artifact = here.store.get("control", key)
        assert artifact.record.spec["kind"] == kind
        pictures[kind] = tmp_path / f"{kind}.png"
        pictures[kind].write_bytes(here.store.read(artifact, "control.png"))
    assert set(pictures) == {"canny", "geometry"}
    capsys.readouterr()
    for kind, path in pictures.items():
        show.show_image(settings, path)
        said = capsys.readouterr().out
        assert str(sample.sample) in said
        assert f"{path}: the bytes on record" in said, kind
    show.show(settings, str(sample.sample))
    said = capsys.readouterr().out
    assert "canny" in said
    assert f"geometry, key {sample.keys['control']['geometry']}" in said
    for key in sample.keys["control"].values():
        artifact = here.store.get("control", key)
        assert f"/{here.store.address(artifact, 'control.png').removesuffix('/control.png')}\n" in said
        assert f"control.png      sha256 {artifact.record.files['control.png']['sha256']}  sound" in said
    rows = here.catalog.rows("select name, count(*) as n from scores group by 1 order by 1")
    assert [(row["name"], row["n"]) for row in rows] == [("fidelity", 4), ("fidelity_canny", 4), ("fidelity_geometry", 4)]
