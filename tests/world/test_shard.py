"""Shards: pure functions of (spec, index), balanced, written wholly or not at all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from models.world.shard import WorldShard, make_shard, missing, placed, write
from models.world.spec import EVALUATION_SEED, WorldSpec

SMALL = WorldSpec(classes=("cup", "table"), views_per_shard=2, appearances=2, resolution=64, full_share=0.0)


@pytest.fixture(scope="module")
def shard() -> WorldShard:
    return make_shard(SMALL, 3)


def test_a_shard_is_a_pure_function_of_spec_and_index(shard: WorldShard) -> None:
    again = make_shard(SMALL, 3)
    assert again.rows == shard.rows
    assert all(np.array_equal(again.arrays[name], array) for name, array in shard.arrays.items())
    assert make_shard(SMALL, 4).rows != shard.rows


def test_a_shard_has_an_entry_of_each_kind_for_each_picture(shard: WorldShard) -> None:
    n = len(shard.rows)
    assert n == 4
    for name in ("rgb", "edge_canny", "edge_geometry", "mask"):
        assert shard.arrays[name].shape[:3] == (n, 64, 64)
        assert shard.arrays[name].dtype == np.uint8
    assert shard.arrays["depth"].dtype == np.float16
    assert np.array_equal(shard.arrays["edge_canny"][0], shard.arrays["edge_canny"][1])
    assert not np.array_equal(shard.arrays["rgb"][0], shard.arrays["rgb"][1])


def test_any_prefix_of_shards_is_balanced_over_classes_and_sees_every_cad_model_before_one_returns() -> None:
    spec = WorldSpec(classes=("car", "bus", "cup"), cad_seeds=50)
    seen = [view for index in range(3) for view in placed(spec, index)]
    counts = Counter(view.class_name for view in seen)
    assert max(counts.values()) - min(counts.values()) <= 1
    cars = [(view.cad_seed, view.view_index) for view in seen if view.class_name == "car"]
    assert len({seed for seed, _ in cars[:50]}) == 50
    assert {view for _, view in cars[:50]} == {0}
    assert len(set(cars)) == len(cars)


def test_training_never_sees_a_cad_model_that_is_kept_for_evaluation() -> None:
    seeds = [view.cad_seed for index in range(60) for view in placed(WorldSpec(classes=("car",)), index)]
    assert max(seeds) < EVALUATION_SEED
    with pytest.raises(ValueError, match="kept for evaluation"):
        WorldSpec(cad_seeds=EVALUATION_SEED + 1)


def test_a_written_shard_is_whole_and_is_not_made_again(shard: WorldShard, tmp_path: Path) -> None:
    assert missing(tmp_path, 3, 2, SMALL) == [3, 4]
    folder = write(shard, SMALL, tmp_path, 3)
    assert missing(tmp_path, 3, 2, SMALL) == [4]
    assert np.array_equal(np.load(folder / "rgb.npy", mmap_mode="r"), shard.arrays["rgb"])
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert write(shard, SMALL, tmp_path, 3) == folder
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
