"""The pose that a picture shows, read by a network that learned from renders of the class's own CAD models.

Enters: CAD models to teach, later squares cut around objects. Leaves: probabilities of azimuth and elevation. The network is that
of models.evaluation.networks with one class. Its first layers, which see edges and textures of any class, are those of the
bundled readouts and stay as they are; the others begin there and learn the class. So front and back are told apart before any
image is seen, in less than a minute of one core.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation import readouts, sight
from models.reading import pictures
from models.reading.pictures import Pictures
from models.symmetry import ROUND, azimuth_error
from models.verdict import readout
from models.verdict.protocol import CadSource, Progress
from models.verdict.targets import alike

if TYPE_CHECKING:
    import torch

    from models.verdict.pose import PoseReadoutSpec

SIDE = 64
"""Pixels that the network sees along a side, as the bundled readouts."""
AZIMUTH_BINS, ELEVATION_BINS = 36, 18
FIXED = 7
"""Layers of the trunk that stay those of the bundled readouts: two of its four halvings."""
HELD_OUT = 7
"""Every 7th view teaches nothing: what is usual is measured on it."""
LEAST = 0.02
"""Probability that is spread over all bins, whatever the network says: one picture's surprise has an end."""
LEARNT_NATS = 0.2
"""An angle is judged where held-out pictures are read by at least so much better than by their angles' distribution."""
STANDS_FROM, STANDS_FULLY = 0.25, 0.6
"""Mean nats by which what other CAD models taught reads a CAD model's pictures better if it is turned: up to the first it stands
as they do, from the second on it does not."""
LEAST_TURN = 2
"""Bins by which a CAD model stands otherwise at least: less is no wrong alignment."""
STANDS_SHARE = 0.25
"""Where a larger share of the CAD models seems to, they differ too much to tell it of each other: then none is said to."""
ALIKE_NATS = 1.2
"""By so much at least the middle one of the CAD models must be read better by what the others taught than by chance. Where they
are less alike, as rowing boats and yachts, those taken for turned mostly are not."""
STANDS_NATS = 4.0
"""What is then added to the surprise of each of its images."""
CHECKED = 6
"""CAD models of a class from which on these are compared with each other: of two, nobody knows which one is turned."""
SHIFTS = ((0, 0), (4, 0), (-4, 0), (0, 4), (0, -4))
"""Pixels by which a square is moved to be read several times."""

BLUR_DEG = 12.0
"""Width of a target around its azimuth; elevation's is two thirds of it."""
HEIGHT_WEIGHT = 0.5
"""What a surprise about elevation counts beside one about azimuth: in painted pictures it is the more uncertain of the two."""

Floats = NDArray[np.float64]


class PoseReadout:
    """Teaches a class's poses."""

    def __init__(self, spec: PoseReadoutSpec, device: str = "cpu", threads: int | None = None) -> None:
        self.spec, self.device, self.threads = spec, device, threads

    def teach(self, models: Sequence[CadSource], progress: Progress | None = None) -> bytes:
        """Return the network and what is usual for it. Raises NothingToTeach."""
        spec, half = self.spec, self.spec.views
        tell = progress or (lambda done, total: None)
        shown = pictures.traced(models, spec.views, spec.looks, spec.seed, lambda done: tell(done, 2 * half))
        squares = sight.see(list(shown.rgb), list(shown.mask), SIDE).near[..., :3]
        held = shown.view % HELD_OUT == HELD_OUT - 1 if len(np.unique(shown.view)) >= HELD_OUT else np.zeros(len(shown), bool)
        network = _begun(spec.seed, self.threads)
        _learn(network, squares[~held], shown, ~held, spec, lambda share: tell(half + int(half * share), 2 * half))
        state = _state(network)
        asked = held if held.any() else ~held
        facts = _facts(Reader(state, self.threads), squares[asked], shown, asked)
        stands = _standing(squares, shown, spec, self.threads)
        if stands:
            otherwise = ", ".join(f"{cad_id[:12]} by {stood['by_deg']:.0f} degrees" for cad_id, stood in stands.items())
            facts["words"] += f"; CAD models that stand otherwise than the others: {otherwise}"
        return readout.pack(state, {**facts, "stands": stands})


class Reader:
    """A taught network, ready to be asked."""

    def __init__(self, state: dict[str, NDArray[Any]], threads: int | None = None) -> None:
        import torch

        self._network = _new(0, threads)
        tensors = {name: torch.from_numpy(value.astype(np.float32)) for name, value in state.items()}
        self._network.load_state_dict(tensors, strict=False)
        self._network.eval()

    def read(self, squares: NDArray[np.uint8], symmetry: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return (N, bins) probabilities of azimuth and of elevation for (N, S, S, 3) squares as `sight.see` cuts them.

        Azimuths that show the same picture of an object with a symmetry share what the network says of any of them.
        """
        import torch

        wide = sight.tensor(squares)
        first = (wide.shape[-1] - SIDE) // 2
        azimuth, elevation = np.zeros((len(squares), AZIMUTH_BINS)), np.zeros((len(squares), ELEVATION_BINS))
        with torch.no_grad():
            for x, y in SHIFTS:
                said = self._network(wide[..., first + y : first + y + SIDE, first + x : first + x + SIDE].contiguous())
                azimuth += said["azimuth"][:, 0].softmax(-1).double().numpy() / len(SHIFTS)
                elevation += said["elevation"].softmax(-1).double().numpy() / len(SHIFTS)
        return alike(azimuth, symmetry), elevation


def surprises(azimuth: Floats, elevation: Floats, poses: Floats, symmetry: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return how far probabilities are from what an annotation lets expect, (N,) nats for azimuth and for elevation."""
    wanted = readouts.azimuth_targets(poses[:, 0], symmetry, AZIMUTH_BINS, BLUR_DEG)
    return _apart(azimuth, wanted), _apart(elevation, readouts.elevation_targets(poses[:, 1], ELEVATION_BINS, BLUR_DEG * 2 / 3))


def angles(azimuth: Floats, elevation: Floats) -> tuple[Floats, Floats]:
    """Return the azimuth and the elevation that probabilities say, in degrees."""
    return readouts.peak(azimuth), elevation @ readouts.centres(ELEVATION_BINS, False)


def _apart(said: Floats, wanted: NDArray[np.float32]) -> Floats:
    floor = (1 - LEAST) * said + LEAST / said.shape[1]
    target = wanted.astype(np.float64)
    return np.asarray((target * (np.log(np.maximum(target, 1e-12)) - np.log(floor))).sum(axis=1), np.float64)


def _new(seed: int, threads: int | None) -> Any:
    import torch

    from models.evaluation.networks import ShapeNetwork

    if threads:
        torch.set_num_threads(threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ShapeNetwork(1, AZIMUTH_BINS, ELEVATION_BINS, SIDE).to(memory_format=torch.channels_last)


def _begun(seed: int, threads: int | None) -> Any:
    """Return a network that sees as the bundled readouts do, and has yet to learn what azimuth the class shows."""
    network, known = _new(seed, threads), readouts.load().shape.state_dict()
    own = network.state_dict()
    begun = {name: known[name] for name in own if name.startswith(("trunk.", "mix.", "elevation_head."))}
    network.load_state_dict({**own, **begun})
    return network


def _learn(
    network: Any, squares: NDArray[np.uint8], shown: Pictures, rows: NDArray[np.bool_], spec: PoseReadoutSpec, tell: Any
) -> None:
    """Teach the network the poses of the pictures `rows`, cut as `squares`; `tell` gets the share that is done."""
    import torch
    from torch.nn.functional import cross_entropy

    random = torch.Generator().manual_seed(spec.seed)
    seen = _prepared(network, squares, spec.variants, random)
    poses, symmetry = shown.poses[rows], shown.symmetry[rows]
    azimuths = torch.from_numpy(readouts.azimuth_targets(poses[:, 0], symmetry, AZIMUTH_BINS, BLUR_DEG))
    elevations = torch.from_numpy(readouts.elevation_targets(poses[:, 1], ELEVATION_BINS, BLUR_DEG * 2 / 3))
    turns = torch.from_numpy(symmetry != ROUND)
    learning = [value for name, value in network.named_parameters() if not _fixed(name) and not name.startswith("class_head")]
    optimiser = torch.optim.AdamW(learning, lr=spec.learning_rate, weight_decay=0.05)
    smooth = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    with torch.random.fork_rng(devices=[]):
        # Dropout draws from torch's own generator.
        torch.manual_seed(spec.seed)
        for step in range(spec.steps):
            for group in optimiser.param_groups:
                group["lr"] = spec.learning_rate * readouts.rate(step / spec.steps)
            chosen = torch.randint(len(seen), (spec.batch,), generator=random)
            which = chosen % len(squares)
            with torch.autocast("cpu", torch.bfloat16):
                mixed = network.mix(network.trunk[FIXED:](seen[chosen].float().to(memory_format=torch.channels_last)))
                said, height = network.azimuth_head(mixed), network.elevation_head(mixed)
            each = cross_entropy(said.float(), azimuths[which], reduction="none") * turns[which]
            loss = each.mean() + 0.5 * cross_entropy(height.float(), elevations[which])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learning, 5.0)
            optimiser.step()
            for name, value in network.state_dict().items():
                if value.is_floating_point():
                    smooth[name].lerp_(value, 1 - min(0.99, (step + 1) / (step + 10)))
            tell((step + 1) / spec.steps)
    network.load_state_dict(smooth)
    network.eval()


def _standing(
    squares: NDArray[np.uint8], shown: Pictures, spec: PoseReadoutSpec, threads: int | None
) -> dict[str, dict[str, float]]:
    """Return the CAD models that stand otherwise than the others of their class, as `stood` says it.

    Whoever learned from a CAD model that stands wrong finds its images right. So each half of the CAD models is read by a network
    that learned from the other half; over all pictures of one even a rough reader sees which way it is turned.
    """
    if len(shown.cad_ids) < CHECKED or not spec.check_steps:
        return {}
    short = dataclasses.replace(spec, steps=spec.check_steps, variants=min(spec.variants, 2))
    said, turns = np.full((len(shown), AZIMUTH_BINS), 1.0 / AZIMUTH_BINS), shown.symmetry != ROUND
    for half in (0, 1):
        taught, rows = (shown.cad % 2 != half) & turns, np.flatnonzero((shown.cad % 2 == half) & turns)
        if taught.any() and len(rows):
            network = _begun(spec.seed + 1 + half, threads)
            _learn(network, squares[taught], shown, taught, short, lambda share: None)
            reader = Reader(_state(network), threads)
            for some in np.array_split(rows, -(-len(rows) // 64)):
                said[some] = reader.read(squares[some], shown.symmetry[some])[0]
    return stood(said, shown.poses[:, 0], shown.cad, shown.cad_ids)


def stood(said: Floats, azimuths: Floats, cad: NDArray[np.int64], cad_ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the CAD models whose pictures (N,) are read better if all are turned alike: cad_id -> by_deg, better_by (mean nats
    of a picture) and nats (what is added to the surprise of its images).

    said (N, bins): probabilities of azimuth by who never saw the picture's CAD model.
    """
    said = np.log((1 - LEAST) * said + LEAST / AZIMUTH_BINS)
    place = np.rint(azimuths * AZIMUTH_BINS / 360.0).astype(int)
    found: dict[str, dict[str, float]] = {}
    read = []
    for which, cad_id in enumerate(cad_ids):
        mine = cad == which
        # The mean log probability of the annotated azimuths, all turned by 0, 10, 20, ... degrees.
        turned = (place[mine, None] + np.arange(AZIMUTH_BINS)) % AZIMUTH_BINS
        fits = np.take_along_axis(said[mine], turned, axis=1).mean(axis=0)
        read.append(float(fits[0]) + np.log(AZIMUTH_BINS))
        fits[1:LEAST_TURN] = fits[-LEAST_TURN + 1 :] = fits[0]
        best = float(fits.max() - fits[0])
        if best > STANDS_FROM:
            nats = STANDS_NATS * min(1.0, (best - STANDS_FROM) / (STANDS_FULLY - STANDS_FROM))
            by_deg = float(fits.argmax()) * 360.0 / AZIMUTH_BINS
            found[cad_id] = {"by_deg": by_deg, "better_by": round(best, 3), "nats": round(nats, 3)}
    return found if len(found) <= STANDS_SHARE * len(cad_ids) and np.median(read) >= ALIKE_NATS else {}


def _state(network: Any) -> dict[str, NDArray[Any]]:
    """Return a network's numbers in half precision."""
    state = {name: value.numpy() for name, value in network.state_dict().items() if not name.endswith("tracked")}
    return {name: value.astype(np.float16) for name, value in state.items()}


def _fixed(name: str) -> bool:
    return name.startswith("trunk.") and int(name.split(".")[1]) < FIXED


def _prepared(network: Any, squares: NDArray[np.uint8], variants: int, random: torch.Generator) -> torch.Tensor:
    """Return what the fixed layers see in `variants` changed versions of each square, version by version."""
    import torch

    network.eval()
    made = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(variants):
            for start in range(0, len(squares), 64):
                some = sight.tensor(squares[start : start + 64])
                some = sight.moved(some, SIDE, torch.zeros(len(some), dtype=torch.bool), random)
                some = sight.recoloured(sight.roughened(some, random), random)
                made.append(network.trunk[:FIXED]((some * 4.0 - 2.0).to(memory_format=torch.channels_last)).to(torch.bfloat16))
    return torch.cat(made)


def _facts(reader: Reader, squares: NDArray[np.uint8], shown: Pictures, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Return what is usual: how the network reads pictures that taught it nothing, and which angles it can tell."""
    poses, symmetry = shown.poses[rows], shown.symmetry[rows]
    parts = [reader.read(squares[i : i + 64], symmetry[i : i + 64]) for i in range(0, len(squares), 64)]
    azimuth, elevation = (np.concatenate(part) for part in zip(*parts, strict=True))
    by_azimuth, by_elevation = surprises(azimuth, elevation, poses, symmetry)
    wanted = readouts.azimuth_targets(poses[:, 0], symmetry, AZIMUTH_BINS, BLUR_DEG)
    heights = readouts.elevation_targets(poses[:, 1], ELEVATION_BINS, BLUR_DEG * 2 / 3)
    turns = symmetry != ROUND
    gained = {
        "azimuth": float(_blind(wanted[turns]) - by_azimuth[turns].mean()) if turns.any() else 0.0,
        "elevation": float(_blind(heights) - by_elevation.mean()),
    }
    off = azimuth_error(angles(azimuth, elevation)[0], poses[:, 0], symmetry)[turns]
    told = f"{len(shown)} pictures of {len(shown.cad_ids)} CAD models"
    if turns.any():
        told += f"; others are read to {np.median(off):.0f} degrees of azimuth, {100 * (off > 150).mean():.0f}% of them turned"
    return {
        "words": told,
        "left_out": shown.left_out,
        "gained": {name: round(value, 4) for name, value in gained.items()},
        "usual": {
            "azimuth": round(float(np.median(by_azimuth[turns])), 4) if turns.any() else 0.0,
            "elevation": round(float(np.median(by_elevation)), 4),
            "both": round(float(np.median((by_azimuth + HEIGHT_WEIGHT * by_elevation)[turns])), 4) if turns.any() else 0.0,
        },
        "azimuth_error_deg": round(float(np.median(off)), 2) if turns.any() else None,
        "turned_share": round(float((off > 150).mean()), 4) if turns.any() else None,
    }


def _blind(wanted: NDArray[np.float32]) -> float:
    """Return the mean surprise of whoever only knows how the angles are distributed."""
    return float(_apart(np.broadcast_to(wanted.mean(axis=0), wanted.shape).astype(np.float64), wanted).mean())
