"""Keys: equal for equal meaning in every process, different for every difference, refused where there is no stable spelling."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest

from storage.keys import UnstableKeyError, artifact_key, canonical_json


@dataclass(frozen=True, kw_only=True)
class Spec:
    low: float = 100
    name: str = "canny"


def test_a_key_is_the_same_in_a_process_with_another_hash_seed() -> None:
    code = "from storage.keys import artifact_key; print(artifact_key('edge', 1, {'b': 2.5, 'a': ['x', None]}, {'render': 'k'}))"
    keys = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(keys) == 1


def test_the_spelling_of_keys_is_frozen() -> None:
    # Golden: if this changes, every artifact that anybody has made is orphaned.
    assert (
        artifact_key("edge", 1, Spec(), {"render": "abc"}) == "1ad6ea7b929df09310312819608479b14dd584cdecfaf751a01ec6c643bdc22b"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"stage": "edge"}, {"stage": "render"}),
        ({"version": 1}, {"version": 2}),
        ({"spec": Spec()}, {"spec": Spec(low=101)}),
        ({"inputs": {"render": "a"}}, {"inputs": {"render": "b"}}),
    ],
)
def test_every_part_of_a_key_counts(one: dict, other: dict) -> None:
    common = {"stage": "edge", "version": 1, "spec": Spec(), "inputs": {"render": "a"}}
    assert artifact_key(**(common | one)) != artifact_key(**(common | other))


def test_order_of_names_and_int_or_float_do_not_count() -> None:
    assert canonical_json({"b": 1.0, "a": (1, 2)}) == canonical_json({"a": [1, 2], "b": 1})


@pytest.mark.parametrize("value", [{1, 2}, lambda: 0, float("nan"), float("inf"), object(), b"bytes", {1: "one"}])
def test_what_has_no_stable_spelling_is_refused_by_its_path(value: object) -> None:
    with pytest.raises(UnstableKeyError, match=r"value\.spec\.deep\[0\]"):
        canonical_json({"spec": {"deep": [value]}})
