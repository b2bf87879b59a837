"""Progress of a stage: one bar over all shards of a class, whoever moves it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tasks import progress


def seen() -> tuple[list[tuple[str, int, int, bool]], progress.Listener]:
    told: list[tuple[str, int, int, bool]] = []
    return told, lambda bar: told.append((bar.stage, bar.done, bar.total, bar.finished))


def test_shards_move_one_bar_over_all_samples_of_the_class() -> None:
    told, listener = seen()
    with progress.listened(listener), progress.whole("", "car", {"render": 10}):
        with progress.stage("render", "car", total=6, done=2) as first:
            first.advance()
            with progress.stage("render", "car", total=4, done=0) as second:
                second.advance(4)
            first.advance(3)
        with progress.stage("render", "chair", total=3) as other:
            other.advance(3)
    assert {total for stage, _, total, _ in told[:-3]} == {10}
    done = [done for _, done, total, _ in told if total == 10]
    assert done == [2, 3, 3, 7, 7, 10, 10]
    assert [finished for _, _, total, finished in told if total == 10] == [False] * 6 + [True]
    assert told[-1] == ("render", 3, 3, True)


def test_a_shard_that_is_tried_again_counts_once() -> None:
    told, listener = seen()
    with progress.listened(listener), progress.whole("", "car", {"render": 4}):
        with suppress(RuntimeError), progress.stage("render", "car", total=4) as part:
            part.advance(3)
            raise RuntimeError("the renderer died")
        with progress.stage("render", "car", total=4, done=3) as part:
            part.advance()
    assert told[-1] == ("render", 4, 4, True)


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_a_batch_tells_of_its_steps_and_the_time_to_go_comes_from_what_was_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    said: list[tuple[str, float | None]] = []
    with progress.listened(lambda bar: said.append((bar.in_words, bar.seconds_to_go))), progress.whole("", "car", {"image": 32}):
        with progress.stage("image", "car", total=32) as part:
            # It waits for a turn and loads its model: nothing of that is what painting takes.
            clock.now += 250.0
            for step in range(1, 11):
                clock.now += 1.0
                progress.underway(16, step / 10)
            first = said[-10:]
            part.advance(16)
            clock.now += 10.0
            progress.underway(16, 1.0)
    assert said[0] == ("0 of 32", None)
    assert first[0] == ("0 of 32 (16 under way, 10 % of their steps)", None)
    assert [words for words, _ in first][4] == "0 of 32 (16 under way, 50 % of their steps)"
    # Ten seconds a batch: at half of the first one fifteen are left, and so it goes on.
    assert [to_go for _, to_go in first[1:]] == pytest.approx([18.0 - at for at in range(9)])
    assert said[-3] == ("16 of 32", pytest.approx(10.0))
    assert said[-2] == ("16 of 32 (16 under way, 100 % of their steps)", pytest.approx(0.0, abs=1e-6))
    assert said[-1][0] == "16 of 32"


def test_what_was_there_before_says_nothing_of_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    told: list[float | None] = []
    with progress.listened(lambda bar: told.append(bar.seconds_to_go)), progress.whole("", "car", {"render": 100}):
        with progress.stage("render", "car", total=50, done=40) as part:
            for _ in range(3):
                clock.now += 2.0
                part.advance()
            with progress.stage("render", "car", total=50, done=50):
                assert told[-1] == pytest.approx(2.0 * (100 - 93))
