"""A release is complete or absent, goes on where it was killed, and never changes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from storage.catalog.catalog import Catalog
from storage.catalog.tags import Said
from storage.catalog.verify import verify
from storage.export.card import summary
from storage.export.folder import FolderTaken
from storage.export.release import FORMATS, ReleaseTaken, difference, export, found, places
from storage.export.rows import LostFiles
from storage.export.selection import NothingSelected
from tests.export.conftest import ALL, Made

pytestmark = pytest.mark.slow

KILLED = """
import os, signal, sys
from pathlib import Path
from storage.export import folder
from storage.export.release import export
from storage.catalog.catalog import Catalog
from storage.settings import Settings
settings = Settings()
format, out, name, kind, at = sys.argv[1:]
left = int(at)
def die(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
if kind == "file":
    write = folder.UnfinishedFolder.open
    def open_(self, name):
        die()
        return write(self, name)
    folder.UnfinishedFolder.open = open_
elif kind == "registering":
    Catalog.add_release = lambda *args, **values: os.kill(os.getpid(), signal.SIGKILL)
catalog = Catalog(settings.catalog, settings.store)
export(
    catalog, settings.store, format=format, out=Path(out), name=name, where="in_cohort = 1", piece=2,
    told=lambda done, total, before: die() if kind == "piece" else None,
)
"""


def tree(folder: Path) -> dict[str, str]:
    """path -> digest of every file; what says when it was written is left out."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.name == "release.json":
                facts = json.loads(data)
                data = json.dumps({name: value for name, value in facts.items() if name not in ("created_at", "name")}).encode()
            elif path.name in ("README.md", "instances_default.json", "croissant.json"):
                data = b"" if path.name == "README.md" else json.dumps(_timeless(json.loads(data))).encode()
            digests[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return digests


def _timeless(value: dict[str, object]) -> dict[str, object]:
    timeless = {name: item for name, item in value.items() if name not in ("datePublished", "name", "description")}
    return timeless | {"info": None}


@pytest.fixture(scope="module")
def whole(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a release in a format, in pieces of two, written at one go."""
    folder = tmp_path_factory.mktemp("whole")

    def of(format: str) -> Path:
        out = folder / format
        if not out.exists():
            export(made.catalog, made.store, format=format, out=out, name="whole-v1", where=ALL, piece=2)
        return out

    return of


# The three YOLO formats have one writer.
@pytest.mark.parametrize("format", sorted(FORMATS.keys() - {"yolo-seg", "yolo-obb"}))
def test_an_export_killed_in_the_middle_is_absent_and_goes_on_to_the_same_files(
    format: str, made: Made, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    out, name = tmp_path / "out", f"killed-{format}"
    for kind, at in (("piece", "2"), ("file", "3")):
        killed = made.python(KILLED, format, str(out), name, kind, at)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not out.exists()
    finished = export(made.catalog, made.store, format=format, out=out, name=name, where=ALL, piece=2)
    assert 0 < finished.written < len(made.samples), "what was written before is not written again"
    assert tree(out) == tree(whole(format))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_release_killed_before_it_was_noted_is_noted_by_the_next_try(made: Made, tmp_path: Path) -> None:
    killed = made.python(KILLED, "coco", str(tmp_path / "out"), "unnoted-v1", "registering", "0")
    assert killed.returncode == -signal.SIGKILL
    assert "unnoted-v1" not in {row["name"] for row in made.catalog.releases()}
    before = tree(tmp_path / "out")
    assert export(made.catalog, made.store, format="coco", out=tmp_path / "out", name="unnoted-v1", where=ALL).written == 0
    assert found(made.catalog, "unnoted-v1")["samples"] == len(made.samples)
    assert tree(tmp_path / "out") == before


def test_the_same_again_is_nothing_to_do_and_other_samples_under_the_name_are_refused(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cars = "class_name = 'car' and in_cohort = 1"
    first = export(made.catalog, made.store, format="imagefolder", out=out, name="cars-v1", where=cars)
    assert first.written == first.samples == 6
    before = tree(out)
    assert export(made.catalog, made.store, format="imagefolder", out=out, name="cars-v1", where=cars).written == 0
    with pytest.raises(ReleaseTaken, match="never changes"):
        export(made.catalog, made.store, format="imagefolder", out=tmp_path / "other", name="cars-v1", where=ALL)
    with pytest.raises(FolderTaken, match="not empty"):
        export(made.catalog, made.store, format="imagefolder", out=out, name="cars-v2", where=ALL)
    assert tree(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_release_is_given_out_in_another_format_without_its_condition_being_said_again(made: Made, tmp_path: Path) -> None:
    cars = "class_name = 'car'"
    first = export(made.catalog, made.store, format="coco", out=tmp_path / "coco", name="twice-v1", where=cars)
    second = export(made.catalog, made.store, format="bop", out=tmp_path / "bop", name="twice-v1")
    assert (second.digest, second.samples) == (first.digest, 6)
    listed = [(tmp_path / format / "release" / "samples.tsv").read_bytes() for format in ("coco", "bop")]
    assert listed[0] == listed[1]


def test_every_folder_of_a_release_is_listed_also_by_a_restored_catalog(made: Made, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(made.home, home)
    mine = Made(home)
    for format in ("coco", "bop", "bop"):
        export(mine.catalog, mine.store, format=format, out=tmp_path / format, name="places-v1", where="class_name = 'car'")
    wanted = [("coco", str(tmp_path / "coco")), ("bop", str(tmp_path / "bop"))]
    assert [place[:2] for place in places(found(mine.catalog, "places-v1"))] == wanted
    (home / "catalog.sqlite").unlink()
    restored = Catalog(f"sqlite:///{home / 'restored.sqlite'}", mine.store)
    restored.rebuild(mine.store.records())
    assert [place[:2] for place in places(found(restored, "places-v1"))] == wanted
    assert len(restored.release_samples("places-v1")) == 6
    assert not [difference for difference in verify(restored, mine.store) if "release" in difference.where]


def test_a_release_is_what_it_was_when_its_class_has_grown(made: Made, tmp_path: Path) -> None:
    """Half of the cars leave the cohort; a release of the cohort is still given out whole."""
    home = tmp_path / "home"
    shutil.copytree(made.home, home)
    grown = Made(home)
    where = "class_name = 'car' and in_cohort = 1"
    first = export(grown.catalog, grown.store, format="coco", out=tmp_path / "a", name="cohort-v1", where=where)
    with grown.catalog.database.writing() as connection:
        connection.exec_driver_sql("UPDATE members SET in_cohort = 0 WHERE class_name = 'car' AND view_index > 0")
    again = export(grown.catalog, grown.store, format="webdataset", out=tmp_path / "b", name="cohort-v1", where=where)
    assert (again.digest, again.samples) == (first.digest, 6)
    assert export(grown.catalog, grown.store, format="webdataset", out=tmp_path / "c", name="cohort-v2", where=where).samples == 2
    told = difference(grown.catalog, "cohort-v1", "cohort-v2")
    assert (len(told["joined"]), len(told["left"]), told["changed"]) == (0, 4, [])
    assert told["classes"] == {"car": (6, 2)}


def test_a_difference_names_what_joined_left_and_changed(made: Made, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(made.home, home)
    changed = Made(home)
    export(changed.catalog, changed.store, format="coco", out=tmp_path / "a", name="a", where="class_name = 'car'")
    export(changed.catalog, changed.store, format="coco", out=tmp_path / "b", name="b", where="view_index = 0")
    (one, *_) = sorted(name for name, row in changed.samples.items() if row["class_name"] == "car" and row["view_index"] == 0)
    with changed.catalog.database.writing() as connection:
        connection.exec_driver_sql("UPDATE release_samples SET sha256 = 'f' WHERE name = 'b' AND sample_id = ?", (one,))
    told = difference(changed.catalog, "a", "b")
    assert told["changed"] == [one]
    assert {changed.samples[name]["class_name"] for name in told["joined"]} == {"garden chair"}
    assert {changed.samples[name]["view_index"] for name in told["left"]} == {1, 2}
    assert told["classes"] == {"car": (6, 2), "garden chair": (0, 2)}


def test_the_default_is_what_the_filter_kept_of_the_cohort(made: Made, tmp_path: Path) -> None:
    export(made.catalog, made.store, format="coco", out=tmp_path / "out", name="kept-v1")
    card = found(made.catalog, "kept-v1")["card"]
    assert card["verdicts"] == {"kept": 6}
    assert card["query"] == "kept = 1 and in_cohort = 1"


def test_the_default_takes_one_recipe_or_asks(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.home, tmp_path / "home")
    two = Made(tmp_path / "home")
    with two.catalog.database.writing() as connection:
        connection.exec_driver_sql("UPDATE members SET recipe = 'other' WHERE view_index = 0")
    with pytest.raises(ValueError, match=r"^which recipe\? kept are samples of \w+ \(\d+\), \w+ \(\d+\); say one: ") as raised:
        export(two.catalog, two.store, format="coco", out=tmp_path / "out", name="two-v1")
    assert not (tmp_path / "out").exists()
    one, both = re.findall('--where "([^"]+)"', str(raised.value))
    assert found_recipes(two, tmp_path / "one", "one-v1", one) < found_recipes(two, tmp_path / "both", "both-v1", both)


def found_recipes(made: Made, out: Path, name: str, where: str) -> set[str]:
    """Write a release and return the recipes of its samples."""
    export(made.catalog, made.store, format="coco", out=out, name=name, where=where)
    return set(found(made.catalog, name)["card"]["recipes"])


def unjudged(made: Made, home: Path, which: str = "1 = 1") -> Made:
    """Return a copy in which nobody could judge some images."""
    shutil.copytree(made.home, home)
    copy = Made(home)
    with copy.catalog.database.writing() as connection:
        images = f"SELECT image_key FROM members WHERE {which}"
        connection.exec_driver_sql(f"UPDATE verdicts SET kept = NULL, reason = NULL WHERE image_key IN ({images})")
        connection.exec_driver_sql(f"DELETE FROM scores WHERE image_key IN ({images})")
    return copy


def test_the_default_stops_where_nothing_was_judged_and_names_what_takes_it_all(made: Made, tmp_path: Path) -> None:
    silent = unjudged(made, tmp_path / "home")
    with pytest.raises(NothingSelected, match=r'12 images there are were not judged .*--where "in_cohort = 1"') as raised:
        export(silent.catalog, silent.store, format="coco", out=tmp_path / "out", name="none-v1")
    assert len(str(raised.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()
    done = export(silent.catalog, silent.store, format="imagefolder", out=tmp_path / "out", name="silent-v1", where=ALL)
    assert (done.samples, done.unjudged) == (12, 0)
    card = found(silent.catalog, "silent-v1")["card"]
    assert (card["verdicts"], card["scores"]) == ({"unjudged": 12}, {})
    text = (tmp_path / "out" / "README.md").read_text()
    assert "Verdicts: not judged (12)." in text
    assert "12 of these samples were not judged" in text
    assert "not judged (12)" in summary(card)
    assert not (tmp_path / "out" / "kept").exists()
    assert len(list((tmp_path / "out" / "unjudged").glob("*/*.png"))) == 12


def test_the_default_counts_what_it_leaves_out_because_it_was_not_judged(made: Made, tmp_path: Path) -> None:
    half = unjudged(made, tmp_path / "home", "class_name = 'car' AND view_index > 0")
    done = export(half.catalog, half.store, format="coco", out=tmp_path / "out", name="half-v1")
    assert (done.samples, done.unjudged) == (2, 4)


def test_the_card_tells_rules_judges_and_what_was_not_judged_from_the_records(released: Callable[[str], Path]) -> None:
    card = json.loads((released("coco") / "release" / "release.json").read_text())
    text = (released("coco") / "README.md").read_text()
    for entry in card["filters"]:
        assert [rule["name"] for rule in entry["rules"]] == ["control", "pose"]
        judges = {judge["name"]: judge for judge in entry["judges"]}
        assert set(judges) == {"fidelity", "kcf"}
        assert (judges["fidelity"]["judged"], judges["kcf"]["judged"]) == (6, 0)
        assert f"- {entry['class_name']}, kcf: not judged: {judges['kcf']['not_judged']}" in text
    assert "| car | kept: fidelity at least -1; kcf not judged | 6 | 0 | 0 | 6 |" in text
    assert re.search(r"\| fidelity \| .* \| -1, 0\.99 \|", text)
    assert "has one CAD model" not in text


def test_a_class_with_one_cad_model_is_told_what_that_costs(made: Made, tmp_path: Path) -> None:
    (one, *_) = sorted({row["cad_id"] for row in made.samples.values() if row["class_name"] == "car"})
    export(made.catalog, made.store, format="coco", out=tmp_path / "out", name="one-v1", where=f"cad_id = '{one}'")
    assert "car: This class has one CAD model." in (tmp_path / "out" / "README.md").read_text()


def test_the_card_counts_what_is_in_the_release(released: Callable[[str], Path], made: Made) -> None:
    out = released("coco")
    card = json.loads((out / "release" / "release.json").read_text())
    assert card["classes"] == {"car": {"samples": 6, "cad_models": 2}, "garden chair": {"samples": 6, "cad_models": 2}}
    assert card["licences"] == {"CC BY 4.0": 6, "CC0": 6}
    assert card["verdicts"] == {"dropped": 6, "kept": 6}
    assert sum(entry["samples"] for entry in card["viewpoints"]["bins"]) == 12
    assert card["truncated"] == sum(row["truncated_fraction"] > 0 for row in made.samples.values())
    assert {entry["class_name"] for entry in card["filters"]} == {"car", "garden chair"}
    assert set(card["specs"]) == {"cad", "render", "control", "caption", "image", "verdict"}
    assert card["controls"] == {"canny": 12}
    assert {"fidelity", "fidelity_canny"} <= set(card["scores"])
    lines = (out / "release" / "samples.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[0] for line in lines] == list(made.samples)
    seal = hashlib.sha256("".join(f"{line.split()[0]} {line.split()[1]}\n" for line in lines).encode()).hexdigest()
    assert seal == card["digest"] == found(made.catalog, "all-v1")["digest"]
    text = (out / "README.md").read_text()
    assert "CC BY 4.0" in text
    assert "## Limits" in text
    drawing = ElementTree.fromstring((out / "release" / "viewpoints.svg").read_text())
    assert len(drawing.findall(".//{http://www.w3.org/2000/svg}circle[@class='speck kept']")) == 12
    assert len(drawing.findall(".//{http://www.w3.org/2000/svg}rect[@class='bar kept']")) > 3


# -- bad input ---------------------------------------------------------------------------------------------------------------


def test_samples_whose_files_are_gone_are_named_and_nothing_is_half_done(made: Made, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(made.home, home)
    lost = Made(home)
    (gone, damaged, *_) = sorted(lost.samples)
    shutil.rmtree((Path(lost.store.where) / lost.samples[gone]["file"]).parent)
    with pytest.raises(LostFiles, match=gone) as raised:
        export(lost.catalog, lost.store, format="coco", out=tmp_path / "out", name="lost-v1", where=ALL)
    assert len(str(raised.value).splitlines()) == 1
    picture = Path(lost.store.where) / lost.samples[damaged]["file"]
    data = bytearray(picture.read_bytes())
    data[-20] ^= 1
    picture.write_bytes(bytes(data))
    with pytest.raises(LostFiles, match=f"1 sample .*{damaged}"):
        export(lost.catalog, lost.store, format="coco", out=tmp_path / "out", name="lost-v1", where=f"sample_id <> '{gone}'")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert "lost-v1" not in {row["name"] for row in lost.catalog.releases()}
    rest = f"sample_id not in ('{gone}', '{damaged}')"
    assert export(lost.catalog, lost.store, format="coco", out=tmp_path / "out", name="lost-v1", where=rest).samples == 10


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("kpet = 1", 'no such column "kpet"; did you mean kept?'),
        ("kept = ", "does not run"),
        ("1 = 1); delete from members; select (1", "does not run|one statement"),
        ("class_name = 'cra'", "no sample with an image fulfils"),
    ],
)
def test_a_condition_that_is_none_is_one_clear_line(made: Made, tmp_path: Path, where: str, complaint: str) -> None:
    before = made.catalog.rows("select count(*) as n from members")
    with pytest.raises(ValueError, match=complaint) as raised:
        export(made.catalog, made.store, format="coco", out=tmp_path / "out", name="bad-v1", where=where)
    assert len(str(raised.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())
    assert made.catalog.rows("select count(*) as n from members") == before


def test_a_comment_in_a_condition_comments_out_nothing_of_ours(made: Made, tmp_path: Path) -> None:
    made_of = export(
        made.catalog, made.store, format="imagefolder", out=tmp_path / "out", name="comment-v1", where="kept = 1 -- the good ones"
    )
    assert made_of.samples == 6


@pytest.mark.parametrize("name", ["", "../car", "car v1", "-car", "a" * 101])
def test_a_name_that_is_no_name_is_refused(made: Made, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a release"):
        export(made.catalog, made.store, format="coco", out=tmp_path / "out", name=name)


def test_a_folder_with_something_else_in_it_and_a_file_are_refused(made: Made, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("")
    for out, complaint in (("full", "is not empty"), ("file", "is a file")):
        with pytest.raises(FolderTaken, match=complaint):
            export(made.catalog, made.store, format="coco", out=tmp_path / out, name="taken-v1")
    (tmp_path / "void").mkdir()
    assert export(made.catalog, made.store, format="coco", out=tmp_path / "void", name="taken-v1").samples == 6
    assert (tmp_path / "full" / "thesis.txt").exists()


def test_a_folder_in_the_artifact_store_is_refused(made: Made, tmp_path: Path) -> None:
    store = Path(made.store.where)
    (tmp_path / "link").symlink_to(store)
    for out in (store / "car-v1", tmp_path / "link" / "car-v1"):
        with pytest.raises(FolderTaken, match="lies in the artifact store"):
            export(made.catalog, made.store, format="coco", out=out, name="inside-v1")
    assert not (store / "car-v1").exists()


def test_two_writers_of_one_folder_do_not_mix(made: Made, tmp_path: Path) -> None:
    inner: list[str] = []

    def meanwhile(done: int, total: int, before: int) -> None:
        if done == 0:
            with pytest.raises(FolderTaken, match="another process") as raised:
                export(made.catalog, made.store, format="coco", out=tmp_path / "out", name="mixed-v1", where=ALL)
            inner.append(str(raised.value))

    export(made.catalog, made.store, format="coco", out=tmp_path / "out", name="mixed-v1", where=ALL, told=meanwhile)
    assert inner


def test_the_commands_say_what_they_did(made: Made, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    said = made.dst("export", "coco", out, "--name", "typed-v1", "--where", "class_name = 'car'")
    assert "6 samples" in said
    assert "typed-v1" in made.dst("release", "list")
    assert "CC0" in made.dst("release", "show", "typed-v1")
    export(made.catalog, made.store, format="imagefolder", out=tmp_path / "b", name="typed-v2", where="view_index = 0")
    said = made.dst("release", "diff", "typed-v1", "typed-v2")
    assert "2 joined" in said
    assert "4 left" in said
    assert "not empty" in made.dst("export", "coco", out, "--name", "typed-v4", code=2)


def test_a_release_that_is_not_there_is_said_so(made: Made) -> None:
    with pytest.raises(ValueError, match='no release "nobody"; there are: '):
        found(made.catalog, "nobody")
    with pytest.raises(ValueError, match='no release "nobody"; there are: '):
        difference(made.catalog, "nobody", "nobody")


def test_nothing_is_selected_is_said_so(made: Made, tmp_path: Path) -> None:
    with pytest.raises(NothingSelected, match="dst status"):
        export(made.catalog, made.store, format="coco", out=tmp_path / "out", name="none-v1", where="azimuth_deg > 400")


def test_tags_choose_samples_and_travel_with_them(made: Made, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(made.home, home)
    tagged = Made(home)
    samples = [row for row in tagged.samples.values() if row["file"]]
    said = [
        Said(image_key=row["image_key"], sample_id=row["sample_id"], class_name=row["class_name"], tag=tag, note="round wheels")
        for row, tag in zip(samples, ("good", "good", "bad"), strict=False)
    ]
    tagged.catalog.add_tags(said, by="ada")
    out = tmp_path / "good"
    export(tagged.catalog, tagged.store, format="coco", out=out, name="good-v1", where="tag = 'good'")
    facts = json.loads((out / "release" / "release.json").read_text())
    assert (facts["samples"], facts["tags"]) == (2, {"good": 2})
    assert "Tagged by people: good (2)." in (out / "README.md").read_text()
    assert "tags       good (2)" in summary(facts)
    images = json.loads((out / "annotations" / "instances_default.json").read_text())["images"]
    assert [(one["dst"]["tag"], one["dst"]["tag_note"], one["dst"]["tagged_by"]) for one in images] == [
        ("good", "round wheels", "ada")
    ] * 2
    assert all(len(one["dst"]["tagged_at"]) == 27 for one in images)
