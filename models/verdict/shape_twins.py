"""The twins of the judge `shape`: a network that reads pictures and one that reads shapes, taught to say the same of what belongs
together.

Enters: a lesson (models.verdict.shape_lesson). Leaves: both networks, packed; later, of pictures (N, 3, side, side) in 0..1 and
planes (N, 4, side, side), vectors whose angle tells how well they fit. In each step every picture is held against every shape
that is not alike (Radford et al. 2021), and against shapes and spoiled pictures made to be mistaken: another view, another CAD
model, mirrored, moved, cropped, half hidden, another object before it. So few pictures teach much.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from models.device import pick_device
from models.evaluation import readouts, sight
from models.evaluation.networks import trunk
from models.verdict import shape_lesson
from models.verdict.protocol import CadSource, Progress
from models.verdict.readout import facts_of, pack, tensors_of

if TYPE_CHECKING:
    from models.verdict.shape import TwinsSpec

SIDE = 64
"""Pixels along a side of what the networks see."""
WIDTHS, BLOCKS = (24, 48, 96), (0, 1, 1)
"""Channels and blocks of the stages of each network: those of the bundled readouts, less the last."""
CHANNELS = 32
"""Channels of each of the 8 x 8 places that are compared."""
ALIKE = 0.35
"""Shapes that differ by less than this (in summed planes, over the first one's area) are not held to be different."""
MIRROR_ALIKE = 0.25
"""A mirrored picture is no failure where the mirrored normals differ by less."""
HELD_OUT = 6
"""One view of so many teaches nothing and shows what was learned."""
SPOILED = ("mirrored", "moved", "cropped", "hidden", "covered")
"""What is done to pictures."""


class Twins(nn.Module):  # type: ignore[misc]
    """A network for pictures and one for shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.shape = (
            nn.Sequential(*trunk(channels, WIDTHS, BLOCKS), nn.Conv2d(WIDTHS[-1], CHANNELS, 1)) for channels in (3, 4)
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.shift = nn.Parameter(torch.tensor(-5.0))

    def forward(self, pictures: torch.Tensor, shapes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a unit vector for each picture and for each shape."""
        said = self.picture(pictures * 4.0 - 2.0), self.shape(shapes)
        read, meant = (functional.normalize(grid.float().flatten(1), dim=1) for grid in said)
        return read, meant

    def logits(self, read: torch.Tensor, meant: torch.Tensor) -> torch.Tensor:
        """Return (N, M): that each picture and each shape belong together."""
        return self.log_scale.exp() * (read @ meant.T) + self.shift

    def paired(self, read: torch.Tensor, meant: torch.Tensor) -> torch.Tensor:
        """Return (N,): that each picture and its own shape belong together."""
        return self.log_scale.exp() * (read * meant).sum(1) + self.shift

    def read(self, pictures: NDArray[np.uint8], shapes: shape_lesson.Planes) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what is read in pictures (N, side, side, 3) and in shapes (N, side, side, 4), each with its mirror image, and
        the shapes' outlines (see `alike`)."""
        device = self.shift.device
        shown = sight.tensor(pictures).to(device)
        meant = torch.from_numpy(np.ascontiguousarray(shapes.transpose(0, 3, 1, 2))).float().to(device)
        ways = [self(shown, meant), self(shown.flip(-1), mirrored(meant))]
        both = [torch.cat(said, 1) / math.sqrt(2.0) for said in zip(*ways, strict=True)]
        return both[0], both[1], outlines(meant)


def mirrored(shapes: torch.Tensor) -> torch.Tensor:
    """Return planes (N, 4, H, W) as they are of the mirrored object: left and right exchanged."""
    sign = torch.tensor([-1.0, 1.0, 1.0, 1.0], device=shapes.device)[:, None, None]
    return (shapes * sign).flip(-1)


def outlines(shapes: torch.Tensor) -> torch.Tensor:
    """Return (N, D): planes (N, 4, H, W), coarsely."""
    return functional.avg_pool2d(shapes, 4).flatten(1)


def alike(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return (N, M): whether the shapes of these outlines are so alike that a picture of one may show the other."""
    apart = torch.cdist(some, others, p=1)
    normals = some.view(len(some), 4, -1)[:, :3]
    area = normals.norm(dim=1).sum(1, keepdim=True).clamp_min(1.0)
    return apart < ALIKE * area


class TwinsReadout:
    """Teaches the twins of a class (models.verdict.protocol.Readout)."""

    def __init__(self, spec: TwinsSpec, device: str = "cpu", threads: int | None = None) -> None:
        self.spec, self.device = spec, pick_device(device)
        if threads is not None:
            torch.set_num_threads(threads)

    def teach(self, models: Sequence[CadSource], progress: Progress | None = None) -> bytes:
        """Return what the class's CAD models teach. Raises NothingToTeach."""
        spec, side = self.spec, round(SIDE * shape_lesson.SLACK)
        # A view takes about a fifth of what a step takes.
        total = spec.views // 5 + spec.steps

        def tell(done: int) -> None:
            if progress:
                progress(done, total)

        given = shape_lesson.lesson(models, spec.views, spec.looks, spec.seed, side, lambda done: tell(done // 5))
        out = np.arange(len(given.pictures)) % HELD_OUT == HELD_OUT - 1
        twins = begun(spec.seed).to(self.device)
        _train(twins, _part(given, ~out), spec, lambda done: tell(spec.views // 5 + done))
        skill = _skill(twins, _part(given, out), spec.seed)
        floats = {name: value for name, value in twins.state_dict().items() if value.is_floating_point()}
        half = {name: value.detach().cpu().half().numpy() for name, value in floats.items()}
        words = f"taught by {len(given.pictures)} traced views of {len(given.cad_ids)} CAD models"
        facts = {"words": words, "left_out": given.left_out, "cad_models": len(given.cad_ids), "skill": round(skill, 4)}
        return pack(half, facts)


def begun(seed: int) -> Twins:
    """Return twins that have learned nothing, the pictures' one from the first layers of the bundled readouts on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twins = Twins()
    own = twins.picture.state_dict()
    # Layers are numbered from the picture on; the last of a twin is its own.
    known = {name: value for name, value in readouts.load().shape.trunk.state_dict().items() if name in own}
    last = f"{len(twins.picture) - 1}."
    twins.picture.load_state_dict(own | {name: value for name, value in known.items() if not name.startswith(last)})
    return twins


def load(readout: bytes, device: str) -> tuple[Twins, dict[str, Any]]:
    """Return the twins of a readout, ready to read, and what is known about them."""
    twins = Twins()
    state = {name: torch.from_numpy(value.astype(np.float32)) for name, value in tensors_of(readout).items()}
    twins.load_state_dict(twins.state_dict() | state)
    twins.eval().requires_grad_(False)
    return twins.to(device), facts_of(readout)


def _part(given: shape_lesson.Lesson, chosen: NDArray[np.bool_]) -> shape_lesson.Lesson:
    return dataclasses.replace(given, pictures=given.pictures[chosen], shapes=given.shapes[chosen])


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Batch:
    """M views: pictures of which the first M are right and the others spoiled, shapes of which the first M are the views' own."""

    pictures: torch.Tensor
    """(2 M, 3, side, side)."""
    shapes: torch.Tensor
    """(2 M, 4, side, side)."""
    unsure: torch.Tensor
    """(M,) whether the spoiled picture shows about the same as the right one."""


def _train(twins: Twins, given: shape_lesson.Lesson, spec: TwinsSpec, tell: Any) -> None:
    device = twins.shift.device
    random, rng = torch.Generator().manual_seed(spec.seed), np.random.default_rng(spec.seed)
    twins.train()
    twins.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(twins.parameters(), lr=spec.learning_rate, weight_decay=0.05)
    for step in range(spec.steps):
        part = step / spec.steps
        for group in optimiser.param_groups:
            group["lr"] = spec.learning_rate * _rate(part)
        chosen = rng.permutation(len(given.pictures))[: spec.batch]
        batch = _batch(given, chosen, random, rng)
        pictures, shapes = (x.to(device, memory_format=torch.channels_last) for x in (batch.pictures, batch.shapes))
        with torch.autocast(device.type, torch.bfloat16):
            read, meant = twins(pictures, shapes)
        loss = _loss(twins.logits(read, meant), shapes, batch.unsure.to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twins.parameters(), 5.0)
        optimiser.step()
        tell(step + 1)
    twins.eval()


def _rate(part: float) -> float:
    return max(0.01, part / 0.1 if part < 0.1 else 0.5 + 0.5 * math.cos(math.pi * (part - 0.1) / 0.9))


def _loss(logits: torch.Tensor, shapes: torch.Tensor, unsure: torch.Tensor) -> torch.Tensor:
    """Return what is to be made small: right pairs rank first among all, and pairs are right or wrong by themselves."""
    count = len(shapes) // 2
    own = torch.arange(count, device=logits.device)
    coarse = outlines(shapes)
    same = alike(coarse, coarse)
    # A spoiled picture is like no shape at all, or one of which nothing is said.
    same = torch.cat([same[:count], unsure[:, None].expand(-1, 2 * count)])
    same[own, own] = False
    held = logits.masked_fill(same, -1e4)
    ranked = functional.cross_entropy(held[:count], own) + functional.cross_entropy(held[:, :count].T, own)
    wrong = torch.zeros((), device=logits.device)
    for row, column in ((own, own + count), (own + count, own), (own, (own + 1) % count)):
        sure = ~same[row, column]
        wrong = wrong + (functional.softplus(logits[row, column]) * sure).sum() / sure.sum().clamp_min(1)
    return 0.5 * ranked + functional.softplus(-logits[own, own]).mean() + wrong / 3.0


def _batch(given: shape_lesson.Lesson, chosen: NDArray[np.int64], random: torch.Generator, rng: np.random.Generator) -> _Batch:
    """Return chosen views with what is wrong for them, moved about alike, the pictures in other colours."""
    count, looks, rivals = len(chosen), given.pictures.shape[1], given.shapes.shape[1] - 1
    right = sight.tensor(given.pictures[chosen, rng.integers(looks, size=count)])
    own, rival = (
        torch.from_numpy(given.shapes[chosen, which].astype(np.float32)).permute(0, 3, 1, 2)
        for which in (np.zeros(count, int), 1 + rng.integers(rivals, size=count))
    )
    spoiled, zoom, shift, kinds = _spoiled(right, given, rng)
    about = mirrored(own)
    same = (about - own)[:, :3].abs().sum((1, 2, 3)) < MIRROR_ALIKE * torch.maximum(_area(about), _area(own))
    moves = _Moves.drawn(count, random)
    shapes = moves.of(torch.cat([own, rival]))
    flipped = torch.where(moves.mirror, -1.0, 1.0).repeat(2)[:, None, None, None]
    shapes = torch.cat([shapes[:, :1] * flipped, shapes[:, 1:]], 1)
    # A painted picture is not true to its control to the last pixel.
    loose = moves.loosened(random)
    pictures = torch.cat([loose.of(right), loose.beside(zoom, shift).of(spoiled)])
    rough = sight.roughened(pictures, random)
    return _Batch(pictures=sight.recoloured(rough, random), shapes=shapes, unsure=torch.from_numpy(kinds == "mirrored") & same)


def _area(shapes: torch.Tensor) -> torch.Tensor:
    return shapes[:, :3].norm(dim=1).sum((1, 2)).clamp_min(1.0)


def _spoiled(
    right: torch.Tensor, given: shape_lesson.Lesson, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, NDArray[np.str_]]:
    """Return pictures that fail, how much nearer and how far aside each is looked at, and what was done to it."""
    made, side = right.clone(), right.shape[-1]
    zoom, shift = torch.ones(len(made)), torch.zeros(len(made), 2)
    kinds = rng.choice(SPOILED, len(made))
    edge, middle = side // 10, side // 2
    for index, kind in enumerate(kinds):
        if kind == "mirrored":
            made[index] = made[index].flip(-1)
        elif kind == "moved":
            angle, far = rng.uniform(0.0, 2 * np.pi), rng.uniform(0.25, 0.7)
            shift[index] = torch.tensor([far * np.cos(angle), far * np.sin(angle)])
        elif kind == "cropped":
            zoom[index], shift[index] = rng.uniform(0.45, 0.75), torch.from_numpy(rng.uniform(-0.5, 0.5, 2))
        elif kind == "hidden":
            first, last, all_of_it = slice(edge, middle), slice(middle, side - edge), slice(edge, side - edge)
            boards = ((all_of_it, first), (all_of_it, last), (first, all_of_it), (last, all_of_it))
            rows, columns = boards[int(rng.integers(4))]
            # A colour of the scene, from the picture's border.
            made[index, :, rows, columns] = made[index, :, int(rng.integers(side)), int(rng.integers(4))][:, None, None]
        else:
            other = int(rng.integers(len(given.pictures)))
            aside = (int(rng.integers(-10, 10)), int(rng.integers(15, 40) * rng.choice([-1, 1])))
            mask = np.roll(np.abs(given.shapes[other, 0, ..., :3]).sum(-1) > 0.5, aside, (0, 1))
            there = sight.tensor(np.roll(given.pictures[other, :1], aside, (1, 2)))[0]
            made[index] = torch.where(torch.from_numpy(mask), there, made[index])
    return made, zoom, shift, kinds


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Moves:
    """How N squares are moved about."""

    zoom: torch.Tensor
    """(N,) part of the square that is seen, 1 for what the networks are asked with."""
    shift: torch.Tensor
    """(N, 2) in halves of what is seen."""
    turn: torch.Tensor
    """(N,) radians."""
    mirror: torch.Tensor
    """(N,) whether left and right are exchanged."""

    @staticmethod
    def drawn(count: int, random: torch.Generator) -> _Moves:
        return _Moves(
            zoom=torch.exp(_within(0.12, (count,), random)),
            shift=_within(0.1, (count, 2), random),
            turn=_within(math.radians(6.0), (count,), random),
            mirror=torch.rand(count, generator=random) < 0.5,
        )

    def loosened(self, random: torch.Generator) -> _Moves:
        """Return nearly the same moves."""
        zoom = self.zoom * torch.exp(_within(0.02, (len(self.zoom),), random))
        return dataclasses.replace(self, zoom=zoom, shift=self.shift + _within(0.03, (len(zoom), 2), random))

    def beside(self, zoom: torch.Tensor, shift: torch.Tensor) -> _Moves:
        """Return the moves of those that are looked at nearer, and aside."""
        return dataclasses.replace(self, zoom=self.zoom * zoom, shift=self.shift + shift)

    def of(self, squares: torch.Tensor) -> torch.Tensor:
        """Return squares (N or a multiple, C, S, S) as they are seen so, at SIDE x SIDE."""
        again = len(squares) // len(self.zoom)
        zoom, turn = self.zoom.repeat(again) * SIDE / squares.shape[-1], self.turn.repeat(again)
        shift, sign = self.shift.repeat(again, 1) * zoom[:, None], torch.where(self.mirror.repeat(again), -1.0, 1.0)
        across = torch.stack([sign * zoom * turn.cos(), -zoom * turn.sin(), shift[:, 0]], -1)
        down = torch.stack([sign * zoom * turn.sin(), zoom * turn.cos(), shift[:, 1]], -1)
        size = [len(squares), squares.shape[1], SIDE, SIDE]
        grid = functional.affine_grid(torch.stack([across, down], 1), size, align_corners=False)
        return functional.grid_sample(squares, grid, padding_mode="border", align_corners=False)


def _within(spread: float, shape: tuple[int, ...], random: torch.Generator) -> torch.Tensor:
    return (torch.rand(shape, generator=random) * 2 - 1) * spread


def _skill(twins: Twins, held: shape_lesson.Lesson, seed: int) -> float:
    """Return how well right pairs of views that taught nothing are told from wrong ones (AUROC): 0.5 is chance."""
    from sklearn.metrics import roc_auc_score

    random, rng = torch.Generator().manual_seed(seed + 1), np.random.default_rng(seed + 1)
    device, right, wrong = twins.shift.device, [], []
    with torch.no_grad():
        for _ in range(2):
            batch = _batch(held, np.arange(len(held.pictures)), random, rng)
            read, meant = twins(batch.pictures.to(device), batch.shapes.to(device))
            count = len(read) // 2
            coarse = outlines(batch.shapes)
            other = ~alike(coarse[:count], coarse[count:]).diagonal()
            right.append(twins.paired(read[:count], meant[:count]))
            wrong.append(twins.paired(read[:count], meant[count:])[other.to(device)])
            wrong.append(twins.paired(read[count:], meant[:count])[~batch.unsure.to(device)])
    good, bad = (torch.cat(part).cpu().numpy() for part in (right, wrong))
    if not len(bad):
        return 0.5
    return float(roc_auc_score(np.r_[np.ones(len(good)), np.zeros(len(bad))], np.r_[good, bad]))
