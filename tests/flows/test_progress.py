"""Progress of a stage: one bar over all shards of a class, whoever moves it."""

from __future__ import annotations

from contextlib import suppress

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
