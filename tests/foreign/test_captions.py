"""Captions that others wrote: imported, pinned, and quoted word for word by a recipe that asks for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flows import recipes, runs
from flows.commands import cad as cad_commands
from flows.commands import imports as commands
from models.caption.imported import ImportedSpec
from models.caption.kinds import CAPTIONERS
from models.caption.protocol import CaptionRefused, CaptionRequest
from models.sample import SampleId
from storage.cad.collections.entry import BadCollection
from storage.catalog.catalog import Catalog
from storage.foreign.captions import read_captions
from storage.settings import Settings
from tasks.intake import foreign
from tasks.plan.place import Place
from tests.cad import collections as made

WANTED = {"caption": {"kind": "imported", "origin": "3d-dst"}}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DST_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Settings()


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "captions.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_tables_of_captions_are_read_under_the_names_people_give_columns(tmp_path: Path) -> None:
    path = csv(tmp_path, 'Synset,Model,Caption\nn02814533,c1,"a red wagon,\n at dusk"\ncar,,a car\n')
    assert read_captions(path) == [
        {"class_name": "beach wagon", "cad_uid": "c1", "prompt": "a red wagon, at dusk"},
        {"class_name": "car", "cad_uid": None, "prompt": "a car"},
    ]
    assert [row["prompt"] for row in read_captions(path, "car")] == ["a car"]
    assert read_captions(csv(tmp_path, "prompt\nx\ny\n"), "bus")[1] == {"class_name": "bus", "cad_uid": None, "prompt": "y"}


def test_a_class_that_a_table_has_no_captions_of_is_named_with_those_it_has(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BadCollection, match='no captions of class "zebra"; it has: beach wagon, car'):
        commands.captions(csv(tmp_path, "synset,caption\nn02814533,x\ncar,y\n"), class_name="zebra")
    assert not (settings.root / "catalog.sqlite").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("synset,model\ncar,c1\n", "lacks the column caption or prompt or text"),
        ("caption\nx\n", "lacks the column synset or class"),
        ("synset,caption\nn99999999,x\n", 'line 2: no synset "n99999999"'),
        ("synset,caption\ncar,\n", "line 2: has no caption"),
        ("synset,model,caption\ncar,../x,y\n", "line 2: .*inside a collection"),
        (f"synset,caption\ncar,{'x' * 5000}\n", "line 2: has a caption of 5000 characters"),
        ("", "lacks the columns"),
    ],
)
def test_a_wrong_table_is_one_line_and_nothing_is_done(text: str, said: str, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BadCollection, match=said) as caught:
        commands.captions(csv(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert not (settings.root / "catalog.sqlite").exists()


def test_a_recipe_takes_them_pins_them_and_uses_each_before_one_twice(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cad_commands.import_("shapenet", made.shapenet(tmp_path / "sn"), class_names=["car"])
    recipe = recipes.resolve("embedded", WANTED)
    with pytest.raises(ValueError, match=r'no captions of origin "3d-dst" for class "car" \(there are: none\); import some'):
        runs.cohort(Place.of(settings), "car", 4, recipe)
    own = [f"car,c1,its own {i}" for i in range(3)]
    commands.captions(csv(tmp_path, "\n".join(["synset,model,caption", *own, "car,,any car", "car,,any car at all", ""])))
    assert "5 captions, 5 of them new" in capsys.readouterr().out
    cohort = runs.cohort(Place.of(settings), "car", 8, recipe)
    uids = {row["cad_id"]: row["uid"] for row in Catalog(settings.catalog).cad_models("car")}
    said: dict[str, list[str]] = {}
    for planned in cohort.samples:
        said.setdefault(uids[planned.sample.cad_id], []).append(str(planned.written))
    assert sorted(said["c1"][:3]) == ["its own 0", "its own 1", "its own 2"]
    assert said["c1"][3] == said["c1"][0]
    assert set(said["c2"]) == {"any car", "any car at all"}
    spec = cohort.recipe.caption
    assert isinstance(spec, ImportedSpec)
    assert len(spec.revision) == 64
    # The same file again is nothing new; the same plan gives the same keys.
    commands.captions(tmp_path / "captions.csv")
    assert "0 of them new" in capsys.readouterr().out
    again = runs.cohort(Place.of(settings), "car", 8, recipe)
    assert [p.key("caption") for p in again.samples] == [p.key("caption") for p in cohort.samples]
    # Another caption is another revision, and a recipe pinned to the old one says so.
    commands.captions(csv(tmp_path, "synset,caption\ncar,one more\n"))
    assert runs.cohort(Place.of(settings), "car", 8, recipe).recipe.caption != spec
    with pytest.raises(ValueError, match="have changed: revision"):
        runs.cohort(Place.of(settings), "car", 8, cohort.recipe)
    # They are in the journal.
    before = foreign.captions(Catalog(settings.catalog), "car", "3d-dst")
    (settings.root / "catalog.sqlite").unlink()
    Catalog(settings.catalog, settings.store).rebuild(settings.store.records())
    assert foreign.captions(Catalog(settings.catalog), "car", "3d-dst") == before


def test_captions_of_models_that_nobody_has_are_refused(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cad_commands.import_("shapenet", made.shapenet(tmp_path / "sn"), class_names=["car"])
    with pytest.raises(ValueError, match='none of its 1 models of class "car" is in the catalog, such as "nobody"'):
        commands.captions(csv(tmp_path, "synset,model,caption\ncar,nobody,x\n"))
    assert foreign.captions(Catalog(settings.catalog), "car", "3d-dst") is None
    commands.captions(csv(tmp_path, "synset,model,caption\ncar,nobody,x\ncar,c1,y\n"))
    assert "1 of 2 models are not in the catalog" in capsys.readouterr().out


def test_the_captioner_quotes_and_refuses_what_is_none() -> None:
    captioner = CAPTIONERS.load(ImportedSpec(origin="3d-dst", revision="r", negative_prompt="blurred"))
    sample = SampleId(class_name="car", cad_id="ab" * 32, view_index=0, draw_index=0)
    asked = CaptionRequest(sample=sample, class_name="car", azimuth_deg=0.0, elevation_deg=0.0)
    made_ = captioner.caption(replace(asked, written=" a  car\nby the sea "))
    assert (made_.prompt, made_.negative_prompt, made_.captioner, made_.revision) == (
        "a car by the sea",
        "blurred",
        "imported: 3d-dst",
        "r",
    )
    for text, reason in ((None, "no_caption"), (" ", "no_caption"), ("x" * 9000, "caption_too_long")):
        with pytest.raises(CaptionRefused) as caught:
            captioner.caption(replace(asked, written=text))
        assert caught.value.reason == reason
    with pytest.raises(ValueError, match="need their origin"):
        recipes.resolve("embedded", {"caption": {"kind": "imported"}})
    with pytest.raises(ValueError, match="no captioner of kind 'poet'; there are: grammar, imported"):
        recipes.resolve("embedded", {"caption": {"kind": "poet"}})
    with pytest.raises(ValueError, match='has no field "captioner"'):
        recipes.resolve("embedded", {"caption": {"captioner": "poet"}})
