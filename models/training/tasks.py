"""What each stage trains, and on what.

Enters: a TrainingSpec, networks, the world's pictures. Leaves: a Task: its trainable parameters, and the loss of one worker's
share of a step. Paper section 3.1 (ControlNet): locked copy, trainable copy of the encoder, zero convolutions.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training import autoencoder, checkpoint, dataset, diffusion, networks, optimise, text
from models.training.spec import TrainingSpec

CODE = "code.safetensors"
DECODER_NOISE = 0.05
"""Noise on the latents that the decoder is trained on: what the base makes is never quite a latent of a picture."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A stage of training, in terms that another process understands."""

    spec: TrainingSpec
    networks: networks.NetworkSpec
    pictures: Path
    """Folder of shards."""
    run: Path
    """Folder of the run: code, checkpoints, log."""
    base: str = ""
    """For control: a foreign base, folder or hub id; empty: the run's own."""
    base_revision: str = ""
    """Commit of a hub id."""
    precision: str = "bfloat16"
    device: str = "cpu"

    @property
    def checkpoint(self) -> Path:
        return self.run / f"{self.spec.stage}.safetensors"


class Task:
    """Base of the three stages."""

    def __init__(self, job: Job) -> None:
        import torch

        self.job, self.spec = job, job.spec
        self.device = torch.device(job.device)
        self.low = getattr(torch, job.precision)
        self.pictures = dataset.TrainingPictures(job.pictures)
        torch.manual_seed(job.spec.seed)
        self.trainable: list[Any] = []

    @property
    def parameters(self) -> list[Any]:
        return [parameter for module in self.trainable for parameter in module.parameters() if parameter.requires_grad]

    @property
    def layout(self) -> str:
        return layout_of(self.trainable)

    def prepare(self) -> None:
        """Move the networks to their device and type; called after the weights were taken over by the optimiser."""
        for module in self.trainable:
            module.train().to(self.device)

    def extend(self, names: list[str]) -> None:
        """Take in the named shards that are new."""
        for shard in self.pictures.extend(names):
            self.take(shard)

    def take(self, shard: dataset.OpenShard) -> None:
        """Compute what the task needs of a new shard."""

    def choose(self, step: int) -> tuple[np.random.Generator, NDArray[np.int64]]:
        """Return a step's random generator and its pictures."""
        rng = np.random.default_rng(self.spec.step_seed(step))
        return rng, rng.integers(0, self.pictures.count, self.spec.batch)

    def loss(self, step: int, rank: int, workers: int) -> Any:
        """Return the loss of one worker's share of a step, to be summed over workers (so divided by their number)."""
        raise NotImplementedError

    def share(self, rank: int, workers: int) -> slice:
        """Return one worker's share of a step's pictures."""
        size = self.spec.batch
        return slice(size * rank // workers, size * (rank + 1) // workers)


def code_of(job: Job) -> dict[str, NDArray[np.float32]]:
    """Return the run's latent code; computed from the first shards when the run begins, then the same for ever."""
    path = job.run / CODE
    if not path.is_file():
        pictures = dataset.TrainingPictures(job.pictures)
        pictures.extend(pictures.names())
        if not pictures.count:
            raise dataset.NoPictures(f"no complete shard in {job.pictures}; make pictures first")
        chosen = np.sort(np.random.default_rng(0).permutation(pictures.count)[:1500])
        autoencoder.save_code(path, autoencoder.components(pictures.rgb(chosen), job.networks.latent_channels))
    return autoencoder.load_code(path)


class AutoencoderTask(Task):
    """Trains the decoder; the encoder is computed."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.code = code_of(job)
        self.vae = networks.autoencoder(job.networks)
        autoencoder.write_encoder(self.vae, self.code)
        self.vae.encoder.requires_grad_(False)
        self.trainable = [self.vae.decoder]

    def loss(self, step: int, rank: int, workers: int) -> Any:
        import torch

        rng, chosen = self.choose(step)
        pictures = self.pictures.rgb(chosen[self.share(rank, workers)])
        latents = torch.from_numpy(autoencoder.encode(pictures, self.code))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)) + rank)
        latents = latents + DECODER_NOISE * torch.rand(len(latents), 1, 1, 1, generator=generator) * torch.randn(
            latents.shape, generator=generator
        )
        true = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1.0).to(self.device)
        # A window of a quarter of the picture: the same lesson at a quarter of the cost.
        cells = latents.shape[-1]
        window = max(1, cells // 2)
        # Drawn beyond the picture and moved back, so that its borders come often enough.
        y, x = (int(np.clip(rng.integers(-2, cells - window + 3), 0, cells - window)) for _ in range(2))
        latents = latents[:, :, y : y + window, x : x + window].to(self.device, self.low, memory_format=torch.channels_last)
        true = true[:, :, 8 * y : 8 * (y + window), 8 * x : 8 * (x + window)]
        made = self.vae.decoder(latents).float()
        # A window's side within the picture lacks its neighbours: it is seen, but not judged.
        top, left = (0 if start == 0 else 4 for start in (y, x))
        bottom, right = (8 * window if start == cells - window else 8 * window - 4 for start in (y, x))
        judged = (slice(None), slice(None), slice(top, bottom), slice(left, right))
        return autoencoder.reconstruction_loss(made[judged], true[judged]) / workers


class LatentTask(Task):
    """What base and control share: latents, token ids, text encoder, UNet."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.latents: list[NDArray[np.float16]] = []
        self.ids: list[NDArray[np.int32]] = []
        self.weights: list[NDArray[np.float16]] = []
        self.load()
        self.empty = text.token_ids(self.tokenizer, [""])[0].numpy()

    def load(self) -> None:
        """Make the networks and what goes with them."""
        self.noise = diffusion.Diffusion(networks.scheduler())
        self.code = code_of(self.job)
        self.tokenizer = tokenizer_of(self.job)
        size, start, end = len(self.tokenizer), self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        self.text = networks.text_encoder(self.job.networks, size, start, end)
        self.unet = networks.unet(self.job.networks)

    def encode(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the latents of pictures."""
        return autoencoder.encode(pictures, self.code)

    def take(self, shard: dataset.OpenShard) -> None:
        latents = [self.encode(np.asarray(shard.rgb[i : i + 64])) for i in range(0, len(shard), 64)]
        self.latents.append(np.concatenate(latents).astype(np.float16))
        self.weights.append(weights_of(np.asarray(shard.mask), self.latents[-1].shape[-2:], self.spec.object_weight))
        captions = self.pictures.captions(shard)
        ids = text.token_ids(self.tokenizer, [caption for group in captions for caption in group]).numpy()
        self.ids.append(ids.reshape(len(captions), -1, ids.shape[-1]).astype(np.int32))

    def batch(self, step: int, rank: int, workers: int) -> dict[str, Any]:
        """Return one worker's share of a step: noisy latents, times, targets, weights, token ids and the pictures' indices."""
        import torch

        rng, chosen = self.choose(step)
        places = [self.pictures.locate(int(index)) for index in chosen]
        phrasing = rng.random(len(chosen))
        silent = rng.random(len(chosen)) < self.spec.text_dropout
        blind = rng.random(len(chosen)) < self.spec.control_dropout
        geometry = rng.random(len(chosen)) < self.spec.geometry_share
        ids = np.stack([self.ids[s][i, int(p * self.ids[s].shape[1])] for (s, i), p in zip(places, phrasing, strict=True)])
        ids[silent] = self.empty
        clean = torch.from_numpy(np.stack([self.latents[s][i] for s, i in places]).astype(np.float32))
        weights = np.stack([self.weights[s][i] for s, i in places]).astype(np.float32)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noisy, times, target = self.noise.corrupt(clean, generator)
        own = self.share(rank, workers)
        return {
            "noisy": noisy[own].to(self.device, self.low, memory_format=torch.channels_last),
            "times": times[own].to(self.device),
            "target": target[own].to(self.device),
            "weights": torch.from_numpy(weights[own]).to(self.device),
            "ids": torch.from_numpy(ids[own].astype(np.int64)).to(self.device),
            "chosen": chosen[own],
            "blind": blind[own],
            "geometry": geometry[own],
        }

    def judged(self, said: Any, batch: dict[str, Any]) -> Any:
        """Return the mean squared error of what the network said (N, C, h, w), weighted by place."""
        return ((said.float() - batch["target"]).square() * batch["weights"]).mean()


class BaseTask(LatentTask):
    """Trains the base: text to image."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.trainable = [self.unet, self.text]
        plain_attention(self.unet)

    def loss(self, step: int, rank: int, workers: int) -> Any:
        batch = self.batch(step, rank, workers)
        words = self.text(batch["ids"]).last_hidden_state
        said = self.unet(batch["noisy"], batch["times"], words).sample
        return self.judged(said, batch) / workers


class ControlTask(LatentTask):
    """Trains a ControlNet on the locked base."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.controlnet = networks.controlnet(self.unet, self.control_channels)
        for module in (self.unet, self.text):
            module.requires_grad_(False).eval()
        for module in (self.unet, self.controlnet):
            plain_attention(module)
        self.trainable = [self.controlnet]

    def load(self) -> None:
        super().load()
        read_base(self.job, self.unet, self.text)

    @property
    def control_channels(self) -> tuple[int, ...]:
        """Width of the network that brings the edges down to the latent grid."""
        return self.job.networks.control_channels

    def prepare(self) -> None:
        import torch

        super().prepare()
        self.unet.to(self.device, self.low, memory_format=torch.channels_last)
        self.text.to(self.device, self.low)

    def loss(self, step: int, rank: int, workers: int) -> Any:
        import torch

        batch = self.batch(step, rank, workers)
        edges = self.pictures.edges(batch["chosen"], batch["geometry"])
        edges[batch["blind"]] = 0
        control = torch.from_numpy(edges).to(self.device, self.low).div_(255.0)[:, None].expand(-1, 3, -1, -1)
        control = control.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            words = self.text(batch["ids"]).last_hidden_state
        down, middle = self.controlnet(batch["noisy"], batch["times"], words, control, return_dict=False)
        said = self.unet(
            batch["noisy"], batch["times"], words, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample
        return self.judged(said, batch) / workers


def weights_of(masks: NDArray[np.uint8], cells: tuple[int, ...], object_weight: float) -> NDArray[np.float16]:
    """Return (N, 1, h, w) weights of the cells of latents, of mean 1 in each picture, from its masks (N, H, W), 0 or 255."""
    height, width = cells
    parts = masks.reshape(len(masks), height, masks.shape[1] // height, width, masks.shape[2] // width)
    share = parts.mean(axis=(2, 4), dtype=np.float32) / 255.0
    weights = 1.0 + (object_weight - 1.0) * share
    half: NDArray[np.float16] = (weights / weights.mean(axis=(1, 2), keepdims=True))[:, None].astype(np.float16)
    return half


def layout_of(modules: list[Any]) -> str:
    """Return the digest of the names and shapes of what is trained: checkpoints of another layout are not of these networks."""
    names = [
        f"{name}{tuple(parameter.shape)}"
        for module in modules
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    ]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def tokenizer_of(job: Job) -> Any:
    """Return the run's tokenizer: of the known words and of those in the first pictures' captions, then the same for ever."""
    from transformers import CLIPTokenizer

    folder = job.run / "tokenizer"
    if not (folder / "tokenizer_config.json").is_file():
        pictures = dataset.TrainingPictures(job.pictures)
        pictures.extend(pictures.names())
        said = [caption for shard in pictures.shards for row in shard.rows for caption in row["captions"]]
        made = text.tokenizer([*text.words(), *said], job.networks.text_tokens)
        made.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def read_base(job: Job, unet: Any, text_encoder: Any) -> None:
    """Read the run's own base (its running mean) into networks."""
    path = job.run / "base.safetensors"
    if not path.is_file():
        raise checkpoint.ForeignCheckpoint(f"no base in {job.run}: train the base first, or give one with --base")
    optimise.restore([*unet.parameters(), *text_encoder.parameters()], checkpoint.vector(path))


def plain_attention(network: Any) -> None:
    """Let a network attend by plain matrix products: on a CPU the fused kernel's backward pass takes half of the whole step."""
    from diffusers.models.attention_processor import AttnProcessor

    network.set_attn_processor(AttnProcessor())
