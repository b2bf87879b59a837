"""Judges over the sets of a benchmark, in memory: what they say, how long it takes, how often an image goes through a network.

Enters: a FilterSet and a JudgeSpec. Leaves: Judged. With a folder, what was judged or taught before is taken from there, named by
all that determines it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pkgutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.filters.noisy import ConfidentSpec, MarginSpec
from models.evaluation.filters.sets import FilterSet
from models.evaluation.filters.spec import VERSION
from models.verdict.kcf_official import KcfOfficialSpec
from models.verdict.kinds import JUDGES
from models.verdict.protocol import JudgeSpec, NothingToTeach, Progress, ReadoutSpec

Scores = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a judge by one of its scores."""

    name: str
    spec: JudgeSpec
    score: str
    high: bool
    """Whether a high score is suspect; else a low one is."""

    def suspect(self, scores: Scores) -> NDArray[np.float64]:
        """Return (N,), high where an image is suspect."""
        values = scores[self.score]
        return values if self.high else -values


HIGH: Mapping[str, bool] = {
    "kcf": True,
    "fidelity": False,
    "quality": False,
    "duplicate": True,
    "pose": True,
    "shape": False,
    "text": False,
    "ensemble": True,
}
"""Judges whose own name is that of their score: whether a high one is suspect."""
BESIDE: Mapping[str, tuple[str, str, bool]] = {"shape margin": ("shape", "shape_margin", False)}
"""Rows by a second score of a judge: name -> kind, score, whether a high one is suspect."""
SUM = "kcf + fidelity"
"""Row: the plain sum of the two, each in robust standard deviations."""
YARDSTICK = "kcf-official-small"
"""Row: the published filter, with the small backbone at 64 pixels."""


def rows(official: bool = False) -> list[Row]:
    """Return the rows of the table, the yardstick first. official: with the published filter at its full size, too."""
    small = KcfOfficialSpec(backbone="resnet-small", side=64)
    made = [Row(name=YARDSTICK, spec=small, score="kcf_official", high=True)]
    for kind, high in HIGH.items():
        if kind in JUDGES.names:
            made.append(Row(name=kind, spec=JUDGES.of(kind)(), score=kind, high=high))  # type: ignore[call-arg]
    for name, (kind, score, high) in BESIDE.items():
        if kind in JUDGES.names:
            made.append(Row(name=name, spec=JUDGES.of(kind)(), score=score, high=high))  # type: ignore[call-arg]
    if official:
        made.append(Row(name="kcf-official", spec=KcfOfficialSpec(), score="kcf_official", high=True))
    made.append(Row(name="confident learning", spec=ConfidentSpec(), score="confident", high=True))
    made.append(Row(name="area under the margin", spec=MarginSpec(), score="margin", high=True))
    return made


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one judge said of one set, and what it cost."""

    scores: Scores
    """Name -> (N,); NaN where an image was not judged."""
    seconds: float
    """Processor time of judging: what other work on the machine changes less."""
    passes: int
    """Images that went through a network; one that it learned from counts three times, for the way back costs twice as much."""
    teaching_seconds: float = 0.0
    """Processor time of teaching its readout, once for a class."""
    teaching_passes: int = 0
    not_judged: str | None = None
    """Why none or some of the images were not judged."""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Passes:
    """Counts images that go through networks."""

    count: int = 0
    depth: int = 0


@contextmanager
def counted() -> Iterator[Passes]:
    """Count what goes through any torch module from the outside; a module within another is part of it."""
    import torch
    from torch.nn.modules import module

    made = Passes()

    def enter(inside: Any, given: tuple[Any, ...]) -> None:
        if made.depth == 0 and given and isinstance(given[0], torch.Tensor) and given[0].ndim == 4:
            made.count += len(given[0]) * (3 if torch.is_grad_enabled() and inside.training else 1)
        made.depth += 1

    def leave(inside: Any, given: tuple[Any, ...], out: Any) -> None:
        made.depth -= 1

    hooks = [module.register_module_forward_pre_hook(enter), module.register_module_forward_hook(leave, always_call=True)]
    try:
        yield made
    finally:
        for hook in hooks:
            hook.remove()


def digest(made: FilterSet) -> str:
    """Return what a set is, by all that a judge is shown of it."""
    told = hashlib.sha256(json.dumps([dataclasses.asdict(source) for source in made.sources]).encode())
    for shown in made.shown:
        case = shown.case
        told.update(json.dumps([str(case.sample), case.pose, case.symmetry, case.prompt, shown.failure]).encode())
        for array in (shown.picture, case.edges, case.mask):
            told.update(np.ascontiguousarray(array).tobytes())
    return told.hexdigest()


def judge(
    spec: JudgeSpec,
    made: FilterSet,
    kept: Path | None = None,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress | None = None,
) -> Judged:
    """Return what a judge says of a set; it is taught by the set's CAD models first, if it is one that is taught."""
    path = None if kept is None else kept / f"judged-{_key('judged', spec, digest(made))}.json"
    found = None if path is None else _read(path)
    if found is not None:
        return found
    readout, taught = None, (0.0, 0)
    wanted = spec.taught_by()
    if wanted is not None:
        try:
            readout, taught = teach(wanted, made, kept, device, threads, progress)
        except NothingToTeach as nothing:
            nobody = np.full(len(made.shown), np.nan)
            return Judged(
                scores={name: nobody for name in spec.scores if "*" not in name}, seconds=0.0, passes=0, not_judged=str(nothing)
            )
    more: dict[str, Any] = {} if readout is None else {"readout": readout}
    heard = [judge(one, made, kept, device, threads, progress) for one in _heard(spec)]
    if spec.reads:
        more["scores"] = {name: values for one in heard for name, values in one.scores.items()}
    at_work = pkgutil.resolve_name(spec.implementation)(spec, device=device, threads=threads, **more)
    (judgement, seconds, passes) = _timed(lambda: at_work.judge(made.evidence(), progress))
    judged = Judged(
        scores=judgement.scores,
        # What is read had to be judged first.
        seconds=seconds + sum(one.seconds for one in heard),
        passes=passes + sum(one.passes for one in heard),
        teaching_seconds=taught[0] + sum(one.teaching_seconds for one in heard),
        teaching_passes=taught[1] + sum(one.teaching_passes for one in heard),
        not_judged=judgement.not_judged,
        facts=judgement.facts,
    )
    if path is not None:
        _write(path, judged)
    return judged


def teach(
    spec: ReadoutSpec,
    made: FilterSet,
    kept: Path | None = None,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress | None = None,
) -> tuple[bytes, tuple[float, int]]:
    """Return a readout taught by a set's CAD models, with the processor time and the passes that it took."""
    told = json.dumps([dataclasses.asdict(source) for source in made.sources])
    path = None if kept is None else kept / f"readout-{_key('readout', spec, told)}.npz"
    if path is not None and path.exists():
        with np.load(path) as file:
            return file["readout"].tobytes(), (float(file["seconds"]), int(file["passes"]))
    at_work = pkgutil.resolve_name(spec.implementation)(spec, device=device, threads=threads)
    readout, seconds, passes = _timed(lambda: at_work.teach(made.sources, progress))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        with temporary.open("wb") as file:
            np.savez(file, readout=np.frombuffer(readout, np.uint8), seconds=seconds, passes=passes)
        temporary.replace(path)
    return readout, (seconds, passes)


def _timed(work: Callable[[], Any]) -> tuple[Any, float, int]:
    with counted() as passes:
        began = time.process_time()
        done = work()
        return done, time.process_time() - began, passes.count


def _heard(spec: JudgeSpec) -> list[JudgeSpec]:
    """Return the judges that a judge reads, as they are by default."""
    return [JUDGES.of(kind)() for kind in spec.reads if kind in JUDGES.names]  # type: ignore[call-arg]


def _key(what: str, spec: JudgeSpec | ReadoutSpec, about: str) -> str:
    taught = spec.taught_by() if isinstance(spec, JudgeSpec) else None
    told = [what, VERSION, spec.version, None if taught is None else taught.version, dataclasses.asdict(spec), about]
    if isinstance(spec, JudgeSpec) and spec.reads:
        told += [spec.identity({}, {}), [_key(what, one, about) for one in _heard(spec)]]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def _read(path: Path) -> Judged | None:
    if not path.exists():
        return None
    told = json.loads(path.read_text())
    # JSON has no NaN: what was not judged is null.
    scores = {name: np.array([np.nan if value is None else value for value in values]) for name, values in told["scores"].items()}
    return Judged(**{**told, "scores": scores})


def _write(path: Path, judged: Judged) -> None:
    told = {one.name: getattr(judged, one.name) for one in dataclasses.fields(judged)}
    told["scores"] = {
        name: [None if np.isnan(value) else float(value) for value in values] for name, values in judged.scores.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(told))
    temporary.replace(path)


def summed(scores: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the plain sum of suspicions, each in robust standard deviations; NaN where one of them is."""
    total = np.zeros(len(scores[0]))
    for values in scores:
        middle = np.nanmedian(values)
        scale = 1.4826 * float(np.nanmedian(np.abs(values - middle)))
        total += (values - middle) / (scale or 1.0)
    return total
