"""What a picture shows, read by networks that learned from rendered pictures of the world and nothing else.

Enters: shards of the world, to train on; later pictures with masks that say where the object should be. Leaves: a Readouts, which
reads class, pose (told the class), colour, material, scene and light. Trained in epochs with a checkpoint after each.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.caption import vocabulary
from models.evaluation import sight
from models.evaluation.spec import ReadoutSpec
from models.symmetry import ROUND, azimuth_error

BUNDLED = Path(__file__).parents[1] / "weights" / "readouts.safetensors"
"""The readouts of the embedded generator's classes, which come with the project."""


@functools.lru_cache(maxsize=1)
def bundled_digest() -> str:
    """Return what tells these readouts from those of another version; empty where they are missing."""
    try:
        return hashlib.sha256(BUNDLED.read_bytes()).hexdigest()[:16]
    except FileNotFoundError:
        return ""


MIRROR_DEG: dict[str, float] = {"cup": 180.0}
"""A mirrored picture shows the azimuth `this - azimuth`: 0 for what is its own mirror image in x, 180 for a handle at -x."""

APPEARANCE: dict[str, tuple[str, ...]] = {
    "colour": tuple(vocabulary.COLOURS),
    "material": vocabulary.MATERIALS,
    "scene": tuple(vocabulary.SCENES),
    "light": tuple(vocabulary.LIGHTS),
}
"""Words that the appearance network tells apart."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What there is to learn from: cut pictures and what they show."""

    seen: sight.Seen
    classes: NDArray[np.int64]
    """(N,) index into the readouts' classes."""
    poses: NDArray[np.float64]
    """(N, 2) azimuth and elevation in degrees."""
    symmetry: NDArray[np.int64]
    """(N,) rotational symmetry of each object."""
    words: dict[str, NDArray[np.int64]]
    """(N,) index into APPEARANCE by name."""
    cad_models: int
    """How many different CAD models they show."""


def classes_of(spec: ReadoutSpec) -> tuple[str, ...]:
    """Return the classes that readouts tell apart."""
    from models.cad.parametric import TRAINED_CLASSES

    return spec.classes or TRAINED_CLASSES


def lesson(spec: ReadoutSpec, folders: Sequence[Path]) -> Lesson:
    """Return all pictures of the folders' shards. Raises NoPictures when there are none."""
    from models.cad import parametric
    from models.training import dataset

    classes = classes_of(spec)
    near, whole, rows = [], [], []
    for folder in folders:
        for name in dataset.complete(folder):
            shard = dataset.open_shard(folder, name)
            mask = np.load(folder / name / "mask.npy", mmap_mode="r")
            chosen = [index for index, row in enumerate(shard.rows) if row["class_name"] in classes]
            if not chosen:
                continue
            seen = sight.see([np.asarray(shard.rgb[i]) for i in chosen], [np.asarray(mask[i]) for i in chosen], spec.side)
            near.append(seen.near)
            whole.append(seen.whole)
            rows += [shard.rows[i] for i in chosen]
    if not rows:
        raise dataset.NoPictures(f"no complete shard of {', '.join(classes)} in {', '.join(map(str, folders))}")
    known: dict[tuple[str, int], int] = {}
    for row in rows:
        model = (row["class_name"], row["cad_seed"])
        if model not in known:
            # Only classes whose shapes differ in it have to be built to know.
            known[model] = parametric.symmetry(*model) if parametric.symmetry(model[0]) != 1 else 1
    return Lesson(
        seen=sight.Seen(near=np.concatenate(near), whole=np.concatenate(whole)),
        classes=np.array([classes.index(row["class_name"]) for row in rows]),
        poses=np.array([[row["azimuth_deg"], row["elevation_deg"]] for row in rows]),
        symmetry=np.array([known[row["class_name"], row["cad_seed"]] for row in rows]),
        words={
            name: np.array([known_words.index(row["words"][name]) for row in rows]) for name, known_words in APPEARANCE.items()
        },
        cad_models=len(known),
    )


def centres(bins: int, around: bool) -> NDArray[np.float64]:
    """Return the middle of each bin in degrees: over a full turn, or from -90 to 90."""
    return np.arange(bins) * 360.0 / bins if around else -90.0 + (np.arange(bins) + 0.5) * 180.0 / bins


def azimuth_targets(azimuth: NDArray[np.float64], symmetry: NDArray[np.int64], bins: int, blur: float) -> NDArray[np.float32]:
    """Return (N, bins): a distribution with a peak at each azimuth that shows the same picture, flat for what is round."""
    away = azimuth_error(azimuth[:, None], centres(bins, True), symmetry[:, None])
    made = np.exp(-0.5 * (away / blur) ** 2)
    return np.asarray(made / made.sum(axis=1, keepdims=True), np.float32)


def elevation_targets(elevation: NDArray[np.float64], bins: int, blur: float) -> NDArray[np.float32]:
    """Return (N, bins): a distribution around each elevation."""
    made = np.exp(-0.5 * ((elevation[:, None] - centres(bins, False)) / blur) ** 2)
    return np.asarray(made / made.sum(axis=1, keepdims=True), np.float32)


@dataclass(frozen=True, kw_only=True)
class Read:
    """What the readouts see in N pictures."""

    classes: NDArray[np.str_]
    """(N,) the class that wins among all."""
    poses: NDArray[np.float64]
    """(N, 3) azimuth, elevation, in-plane 0, in degrees, told the class; NaN for a class that the readouts do not know."""
    words: dict[str, NDArray[np.str_]]
    """(N,) colour, material, scene, light."""


class Readouts:
    """Both networks, ready to be asked."""

    def __init__(self, spec: ReadoutSpec) -> None:
        import torch

        from models.evaluation.networks import AppearanceNetwork, ShapeNetwork

        self.spec, self.classes = spec, classes_of(spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            self.shape = ShapeNetwork(len(self.classes), spec.azimuth_bins, spec.elevation_bins, spec.side)
            self.appearance = AppearanceNetwork({name: len(words) for name, words in APPEARANCE.items()})

    def read(
        self, pictures: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]], told: Sequence[str], batch: int = 64
    ) -> Read:
        """Return what (H, W, 3) pictures show at their masks; `told` names the class of each for its pose."""
        merged = self.probabilities(pictures, masks, told, batch)
        azimuth, elevation = peak(merged["azimuth"]), merged["elevation"] @ centres(self.spec.elevation_bins, False)
        poses = np.stack([azimuth, elevation, np.zeros(len(azimuth))], axis=1)
        poses[[name not in self.classes for name in told]] = np.nan
        return Read(
            classes=np.array(self.classes)[merged["class"].argmax(axis=1)],
            poses=poses,
            words={name: np.array(words)[merged[name].argmax(axis=1)] for name, words in APPEARANCE.items()},
        )

    def probabilities(
        self, pictures: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]], told: Sequence[str], batch: int = 64
    ) -> dict[str, NDArray[np.float64]]:
        """Return (N, count) by name, as `read` takes them: class, azimuth (of the class told), elevation, and APPEARANCE."""
        import torch

        self.shape.eval(), self.appearance.eval()
        parts: list[dict[str, NDArray[np.float64]]] = []
        with torch.no_grad():
            for start in range(0, len(pictures), batch):
                some = slice(start, start + batch)
                parts.append(self._probabilities(sight.see(pictures[some], masks[some], self.spec.side), told[some]))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _probabilities(self, seen: sight.Seen, told: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """Return probabilities by name, the mean over each picture and its mirror image."""
        import torch

        side = self.spec.side
        index = np.array([self.classes.index(name) if name in self.classes else 0 for name in told])
        whole, wide = sight.tensor(seen.whole), sight.tensor(seen.near)
        sums: dict[str, NDArray[np.float64]] = {}
        for mirrored in (False, True):
            near = sight.framed(wide, side, mirrored)
            said = self.shape(near[:, :3]) | self.appearance(near, whole.flip(-1) if mirrored else whole)
            said["azimuth"] = said["azimuth"][torch.arange(len(index)), torch.from_numpy(index)]
            for name, logits in said.items():
                values = logits.float().softmax(-1).double().numpy()
                if name == "azimuth" and mirrored:
                    values = _mirrored(values, np.array([MIRROR_DEG.get(self.classes[i], 0.0) for i in index]))
                sums[name] = sums[name] + values / 2 if name in sums else values / 2
        return sums


def _mirrored(values: NDArray[np.float64], about: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, bins) with bin a moved to bin `about - a`."""
    bins = values.shape[1]
    source = (np.rint(about[:, None] * bins / 360.0).astype(int) - np.arange(bins)) % bins
    return np.take_along_axis(values, source, axis=1)


def peak(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N,) degrees: the circular mean of each distribution within 30 degrees of its highest place."""
    bins = values.shape[1]
    angle = np.radians(centres(bins, True))
    near = np.maximum(np.cos(angle[:, None] - angle[None]) - np.cos(np.radians(35.0)), 0.0)
    best = (values @ near).argmax(axis=1)
    weighed = values * (near[best] > 0)
    return np.asarray(np.degrees(np.arctan2(weighed @ np.sin(angle), weighed @ np.cos(angle))) % 360.0, np.float64)


def save(readouts: Readouts, path: Path, about: dict[str, Any]) -> None:
    """Write both networks in half precision, with their spec and what is known `about` them, at once."""
    import torch
    from safetensors.torch import save_file

    tensors = {
        f"{name}.{key}": value.detach().to(torch.float16 if value.is_floating_point() else value.dtype).contiguous().clone()
        for name in ("shape", "appearance")
        for key, value in getattr(readouts, name).state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    spec = dataclasses.replace(readouts.spec, classes=readouts.classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    save_file(tensors, temporary, {"spec": json.dumps(dataclasses.asdict(spec)), "about": json.dumps(about)})
    temporary.chmod(0o644)
    temporary.replace(path)


def load(path: Path = BUNDLED, threads: int = 0) -> Readouts:
    """Return the readouts of a file; `threads` torch threads, 0 leaves them. Raises FileNotFoundError."""
    import torch
    from safetensors import safe_open

    if threads:
        torch.set_num_threads(threads)

    if not path.is_file():
        raise FileNotFoundError(f"no readouts in {path}; make them with: dst evaluate readouts")
    with safe_open(path, "pt") as file:
        given = json.loads(file.metadata()["spec"])
        made = Readouts(ReadoutSpec(**{**given, "classes": tuple(given["classes"])}))
        for name in ("shape", "appearance"):
            keys = [key for key in list(file.keys()) if key.startswith(f"{name}.")]
            state = {key.removeprefix(f"{name}."): file.get_tensor(key).float() for key in keys}
            missing = getattr(made, name).load_state_dict(state, strict=False)
            assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys), missing
    made.shape.eval(), made.appearance.eval()
    return made


def about(path: Path = BUNDLED) -> dict[str, Any]:
    """Return what is known of a file's readouts: pictures, CAD models, epochs, figures."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return dict(json.loads(file.metadata()["about"]))


def known(spec: ReadoutSpec, taught: Lesson) -> dict[str, Any]:
    """Return what is to be said of readouts that were trained so."""
    return {"pictures": len(taught.seen), "cad_models": taught.cad_models, "epochs": spec.epochs}


def train(
    spec: ReadoutSpec,
    taught: Lesson,
    checkpoint: Path,
    log: Callable[[str], None],
    stop_after: int | None = None,
    threads: int = 0,
) -> Readouts | None:
    """Return trained readouts; goes on from `checkpoint`, written after each epoch. None when stopped by `stop_after`."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    made = Readouts(spec)
    names = ("shape", "appearance")
    nets = {name: getattr(made, name).to(memory_format=torch.channels_last) for name in names}
    smooth = {name: {key: value.clone() for key, value in net.state_dict().items()} for name, net in nets.items()}
    optimiser = torch.optim.AdamW(
        [p for net in nets.values() for p in net.parameters()], lr=spec.learning_rate, weight_decay=0.05
    )
    steps_each = len(taught.seen) // spec.batch
    total, begin = steps_each * spec.epochs, 0
    if checkpoint.exists():
        there = torch.load(checkpoint, weights_only=True)
        for name, net in nets.items():
            net.load_state_dict(there[name])
        smooth = there["smooth"]
        optimiser.load_state_dict(there["optimiser"])
        begin = int(there["epoch"])
    targets = _targets(spec, made.classes, taught)
    for epoch in range(begin, spec.epochs):
        began = time.monotonic()
        losses: dict[str, float] = {}
        random = torch.Generator().manual_seed(spec.seed * 1000 + epoch)
        order = torch.randperm(len(taught.seen), generator=random)
        for net in nets.values():
            net.train()
        # Dropout draws from torch's own generator: each epoch begins it anew, wherever the training was stopped.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed * 1000 + epoch)
            for step in range(steps_each):
                done = epoch * steps_each + step
                for group in optimiser.param_groups:
                    group["lr"] = spec.learning_rate * rate(done / total)
                parts = _loss(made, taught, targets, order[step * spec.batch : (step + 1) * spec.batch], random)
                optimiser.zero_grad(set_to_none=True)
                torch.stack(list(parts.values())).sum().backward()
                torch.nn.utils.clip_grad_norm_([p for net in nets.values() for p in net.parameters()], 5.0)
                optimiser.step()
                keep = min(0.998, (done + 1) / (done + 20))
                for name, net in nets.items():
                    for key, value in net.state_dict().items():
                        if value.is_floating_point():
                            smooth[name][key].lerp_(value, 1 - keep)
                        else:
                            smooth[name][key].copy_(value)
                for name, loss in parts.items():
                    losses[name] = losses.get(name, 0.0) + float(loss.detach()) / steps_each
        state = {name: net.state_dict() for name, net in nets.items()}
        temporary = checkpoint.with_suffix(".part")
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        torch.save({**state, "smooth": smooth, "optimiser": optimiser.state_dict(), "epoch": epoch + 1}, temporary)
        temporary.replace(checkpoint)
        said = "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        log(f"readouts epoch {epoch + 1} of {spec.epochs}  {said}  {time.monotonic() - began:.0f} s")
        if stop_after is not None and epoch + 1 - begin >= stop_after and epoch + 1 < spec.epochs:
            return None
    for name, net in nets.items():
        net.load_state_dict(smooth[name])
        net.eval()
    return made


def rate(progress: float) -> float:
    """Return the share of the greatest rate at a share of the training: up over a tenth of it, then down along a cosine."""
    return progress / 0.1 if progress < 0.1 else 0.5 * (1 + float(np.cos(np.pi * (progress - 0.1) / 0.9)))


def _targets(spec: ReadoutSpec, classes: tuple[str, ...], taught: Lesson) -> dict[str, Any]:
    """Return what each picture, and its mirror image, should be read as."""
    import torch

    about = np.array([MIRROR_DEG.get(name, 0.0) for name in classes])[taught.classes]
    azimuths = {False: taught.poses[:, 0], True: about - taught.poses[:, 0]}
    made: dict[str, Any] = {
        f"azimuth-{mirrored}": torch.from_numpy(azimuth_targets(azimuth, taught.symmetry, spec.azimuth_bins, spec.blur_deg))
        for mirrored, azimuth in azimuths.items()
    }
    made["elevation"] = torch.from_numpy(elevation_targets(taught.poses[:, 1], spec.elevation_bins, spec.blur_deg * 2 / 3))
    made["class"] = torch.from_numpy(taught.classes)
    made["turns"] = torch.from_numpy(taught.symmetry != ROUND)
    return made | {name: torch.from_numpy(index) for name, index in taught.words.items()}


def _loss(made: Readouts, taught: Lesson, targets: dict[str, Any], chosen: Any, random: Any) -> dict[str, Any]:
    """Return the losses of one batch by name."""
    import torch
    from torch.nn import functional

    rows = chosen.numpy()
    mirror = torch.rand(len(rows), generator=random) < 0.5
    near = sight.moved(sight.tensor(taught.seen.near[rows]), made.spec.side, mirror, random)
    whole = sight.tensor(taught.seen.whole[rows])
    whole = torch.where(mirror[:, None, None, None], whole.flip(-1), whole)
    rough = torch.cat([sight.roughened(near[:, :3], random), near[:, 3:]], dim=1)
    rough_whole = torch.cat([sight.roughened(whole[:, :3], random), whole[:, 3:]], dim=1)
    shape_input = sight.recoloured(rough[:, :3], random).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        said = made.shape(shape_input)
        seen = made.appearance(rough.to(memory_format=torch.channels_last), rough_whole.to(memory_format=torch.channels_last))
    losses: dict[str, Any] = {"class": functional.cross_entropy(said["class"].float(), targets["class"][chosen])}
    wanted = torch.where(mirror[:, None], targets["azimuth-True"][chosen], targets["azimuth-False"][chosen])
    logits = said["azimuth"].float()[torch.arange(len(rows)), targets["class"][chosen]]
    each = functional.cross_entropy(logits, wanted, reduction="none") * targets["turns"][chosen]
    losses["azimuth"] = each.mean()
    losses["elevation"] = 0.5 * functional.cross_entropy(said["elevation"].float(), targets["elevation"][chosen])
    for name in APPEARANCE:
        losses[name] = functional.cross_entropy(seen[name].float(), targets[name][chosen], label_smoothing=0.05)
    return losses
