"""The measures say what they claim."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from models.cad import parametric
from models.evaluation import cases, measures, painting, sweep
from models.evaluation.cases import Case
from models.evaluation.spec import EvaluationSpec
from models.image.controlnet import ControlNetSpec
from models.sample import SampleId


def _drawn(colour: int, shift: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    picture = np.full((128, 128, 3), 128, np.uint8)
    picture[40:90, 30 + shift : 80 + shift] = colour
    mask = np.zeros((128, 128), np.uint8)
    mask[40:90, 30:80] = 255
    edges = np.zeros((128, 128), np.uint8)
    edges[40:90, [30, 79]] = 255
    edges[[40, 89], 30:80] = 255
    return picture, edges, mask


def _case(index: int, side: int = 128) -> Case:
    picture, edges, mask = _drawn(250)
    return Case(
        sample=SampleId(class_name="car", cad_id=f"parametric-{index}", view_index=0),
        rgb=picture[:side, :side],
        edges=edges[:side, :side],
        mask=mask[:side, :side],
        words={"colour": "red", "material": "painted", "scene": "grass", "light": "noon"},
        prompt="a red car on grass",
        pose=(10.0 * index, 20.0, 0.0),
    )


def test_a_picture_that_obeys_its_edges_scores_one_and_an_empty_one_nothing() -> None:
    picture, edges, mask = _drawn(250)
    assert measures.edge_agreement(picture, edges, mask) == (1.0, 1.0, 1.0)
    assert measures.edge_agreement(np.full_like(picture, 128), edges, mask) == (0.0, 0.0, 0.0)


def test_edges_a_few_pixels_off_are_not_found() -> None:
    picture, edges, mask = _drawn(250, shift=8)
    recall, _, f1 = measures.edge_agreement(picture, edges, mask)
    assert recall < 0.7
    assert f1 < 0.8
    two_off = _drawn(250, shift=2)[0]
    assert measures.edge_agreement(two_off, edges, mask)[0] > 0.95 > measures.edge_agreement(two_off, edges, mask, reach=1)[0]


def test_edges_that_lie_near_but_run_another_way_are_not_the_controls() -> None:
    picture, edges, mask = _drawn(250)
    assert measures.directed_recall(picture, edges, mask) > 0.9
    rows, columns = np.mgrid[0:128, 0:128]
    hatched = np.where((rows + columns) // 5 % 2 == 0, 128, 250).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert measures.edge_agreement(hatched, edges, mask)[0] > 0.8, "by chance there is an edge near everywhere"
    assert measures.directed_recall(hatched, edges, mask) < 0.3


def test_held_out_views_are_of_cad_models_that_no_training_saw_and_the_first_of_many_are_the_same() -> None:
    chosen = cases.held_out(4, ("car", "cup"))
    assert [case.class_name for case in chosen] == ["car", "cup", "car", "cup"]
    assert all(int(case.sample.cad_id.split("-")[1]) >= 10_000 for case in chosen)
    assert all(case.edges.any() and case.mask.any() and case.prompt for case in chosen)
    assert [case.prompt for case in cases.held_out(2, ("car", "cup"))] == [case.prompt for case in chosen[:2]]


@pytest.mark.parametrize("kind", ["steep", "one face"])
def test_views_of_an_uncommon_kind_are_all_of_that_kind(kind: str) -> None:
    assert [case.kind for case in cases.held_out(3, ("car", "table"), kind)] == [kind] * 3


def test_viewpoints_are_named_by_height_and_by_how_many_faces_they_show() -> None:
    angles = ((30, 20), (30, -11), (30, 61), (5, 3), (95, -8), (355, 14), (5, 20), (45, 0))
    named = ["common", "steep", "steep", "one face", "one face", "one face", "common", "common"]
    assert [cases.kind_of(*angle) for angle in angles] == named


def test_cases_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    written = [dataclasses.replace(_case(1), symmetry=2, name="hatchback"), _case(2)]
    cases.save(written, tmp_path / "views.npz")
    for one, other in zip(written, cases.load(tmp_path / "views.npz"), strict=True):
        assert np.array_equal(one.rgb, other.rgb)
        assert np.array_equal(one.edges, other.edges)
        assert np.array_equal(one.mask, other.mask)
        plain = ("sample", "words", "prompt", "pose", "symmetry", "name")
        assert [getattr(one, name) for name in plain] == [getattr(other, name) for name in plain]


def test_a_file_is_seen_as_the_parametric_model_it_was_written_from() -> None:
    chosen = cases.file_cases(parametric.glb("table", 10_000), "table", "f" * 64, "my table", 2, 2)
    assert [(case.name, case.symmetry, case.class_name) for case in chosen] == [("my table", 2, "table")] * 2
    assert all(case.edges.any() and "table" in case.prompt for case in chosen)
    assert chosen[0].pose != chosen[1].pose


def test_the_symmetry_of_a_shape_does_not_ask_for_its_colours() -> None:
    assert cases.symmetry_of_shape(parametric.glb("chair", 0)) == 1
    assert cases.symmetry_of_shape(parametric.glb("table", 0)) in (2, 4)


def test_exchanged_cases_are_of_other_classes() -> None:
    dealt = cases.held_out(8, ("car", "cup"))
    other = measures.exchanged(dealt, 2)
    assert sorted(map(id, other)) == sorted(map(id, dealt))
    assert all(a.class_name != b.class_name for a, b in zip(dealt, other))


def test_two_equal_pictures_have_no_diversity() -> None:
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 200, np.uint8)
    assert measures.diversity([black, white], [black, white]) == {"seeds": 0.0, "cases": 200.0}


def test_the_setting_that_is_chosen_obeys_best_and_of_equals_is_the_most_diverse() -> None:
    def row(scale: float, recall: float, class_: float, diversity: float) -> dict[str, float]:
        return {"control_scale": scale, "edge_recall": recall, "edge_f1": 0.8, "class": class_, "diversity": diversity}

    rows = [row(0.5, 0.9, 0.99, 40), row(1.0, 0.94, 0.80, 30), row(1.5, 0.95, 0.81, 20), row(2.0, 0.97, 0.7, 10)]
    assert sweep.choose(rows)["control_scale"] == 1.0
    assert sweep.choose(rows[:1])["control_scale"] == 0.5


def test_the_fastest_sampler_is_one_that_loses_no_figure_by_more_than_five_percent() -> None:
    rows = [
        {"steps": 20, "processor_for_16": 10.0, "edge_f1": 0.80, "class": 0.9},
        {"steps": 10, "processor_for_16": 5.0, "edge_f1": 0.79, "class": 0.87},
        {"steps": 5, "processor_for_16": 2.5, "edge_f1": 0.80, "class": 0.80},
    ]
    assert sweep.fastest(rows)["steps"] == 10


def test_every_setting_of_the_sweep_and_every_sampler_is_tried_once() -> None:
    spec = EvaluationSpec(control_scales=(1.0, 2.0), guidances=(1.0, 3.0), samplers=(("ddim", 20), ("ddim", 8)))
    tried = sweep.settings(spec, ControlNetSpec())
    assert [(one.control_scale, one.guidance) for one in tried] == [(1.0, 1.0), (1.0, 3.0), (2.0, 1.0), (2.0, 3.0)]
    assert [(one.scheduler, one.steps) for one in sweep.samplers(spec, ControlNetSpec())] == [("ddim", 20), ("ddim", 8)]


def test_pictures_are_painted_once_and_again_only_when_they_are_gone_or_damaged(tmp_path: Path) -> None:
    from tests.pipelines import random_pipeline

    spec = ControlNetSpec(model=str(random_pipeline(tmp_path / "generator")), resolution=64, steps=2)
    few = [_case(index, 64) for index in range(3)]
    said: list[str] = []
    first = painting.Painter(tmp_path / "kept", "cpu", 1, 2, said.append).paint(spec, few)
    assert len(first.pictures) == 3
    assert "3 painted  0 kept" in said[-1]
    kept = sorted((tmp_path / "kept").glob("*.npz"))
    assert len(kept) == 2
    kept[0].write_bytes(kept[0].read_bytes()[:-40])
    again = painting.Painter(tmp_path / "kept", "cpu", 1, 2, said.append).paint(spec, few)
    assert len(said) == 2
    assert all(np.array_equal(a, b) for a, b in zip(first.pictures, again.pictures, strict=True))
    painting.Painter(tmp_path / "kept", "cpu", 1, 2, said.append).paint(spec, few)
    assert len(said) == 2, "nothing was missing, nothing was painted"
    painting.Painter(tmp_path / "kept", "cpu", 1, 2, said.append).paint(dataclasses.replace(spec, guidance=3.0), few)
    assert "3 painted" in said[-1]
