"""What each stage trains, and on what.

Enters: a TrainingSpec, networks, the world's pictures. Leaves: a Task: its trainable parameters, and the loss of one worker's
share of a step. Paper section 3.1 (ControlNet): locked copy, trainable copy of the encoder, zero convolutions.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training import autoencoder, checkpoint, controls, dataset, diffusion, features, networks, optimise, text
from models.training.spec import TrainingSpec

LATENT_NOISE = 0.1
"""Noise on latents of spread 1 that the autoencoder has to bear: what the base makes is never quite a latent of a picture."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A stage of training, in terms that another process understands."""

    spec: TrainingSpec
    networks: networks.NetworkSpec
    pictures: Path
    """Folder of shards."""
    run: Path
    """Folder of the run: checkpoints, latents, log."""
    base: str = ""
    """For control: a foreign base, folder or hub id; empty: the run's own."""
    base_revision: str = ""
    """Commit of a hub id."""
    precision: str = "bfloat16"
    device: str = "cpu"

    @property
    def checkpoint(self) -> Path:
        return self.run / f"{self.spec.stage}.safetensors"

    @property
    def locked(self) -> str:
        """Which later stage of the run has gone on from this one, so that it stays as it is; empty where none has."""
        latents, both = ("base", "control", "together", "decoder"), ("together",)
        behind = {"autoencoder": latents, "base": both, "control": both}.get(self.spec.stage, ())
        return next((name for name in behind if (self.run / f"{name}.safetensors").is_file()), "")


class Task:
    """Base of all stages."""

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


class AutoencoderTask(Task):
    """Trains encoder and decoder."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.vae = networks.autoencoder(job.networks)
        if not job.checkpoint.is_file():
            first = dataset.TrainingPictures(job.pictures)
            first.extend(first.names()[:4])
            chosen = np.sort(np.random.default_rng(0).permutation(first.count)[:512])
            autoencoder.begin(self.vae, autoencoder.components(first.rgb(chosen), job.networks.latent_channels))
        self.trainable = [self.vae]
        self.seeing = features.network(self.device) if job.spec.perceptual else None

    def loss(self, step: int, rank: int, workers: int) -> Any:
        import torch

        rng, chosen = self.choose(step)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)) + rank)
        own = chosen[self.share(rank, workers)]
        if step % 2:
            # Whole pictures, for features of whole objects; a quarter of them costs the same.
            pictures = self.pictures.rgb(own[: max(1, len(own) // 4)])
        else:
            side = self.pictures.side
            window = max(32, side // 2)
            # Drawn beyond the picture and moved back, so that its borders come often enough.
            y, x = (int(np.clip(rng.integers(-16, side - window + 17), 0, side - window)) for _ in range(2))
            pictures = self.pictures.rgb(own)[:, y : y + window, x : x + window]
        true = autoencoder.as_input(pictures).to(self.device)
        latents = self.vae.encode(true.to(self.low, memory_format=torch.channels_last)).latents
        noise = LATENT_NOISE * torch.randn(latents.shape, generator=generator).to(self.device, self.low)
        made = self.vae.decode(latents + noise).sample.float()
        loss = autoencoder.reconstruction_loss(made, true) + self.spec.spread * autoencoder.divergence(latents)
        if self.seeing is not None:
            with torch.no_grad():
                wanted = features.levels(self.seeing, true)
            loss = loss + self.spec.perceptual * autoencoder.perceptual_loss(features.levels(self.seeing, made), wanted)
        return loss / workers


class EncodedTask(Task):
    """What all stages behind the autoencoder share: latents of the pictures, made once and kept in the run's folder."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.latents: list[NDArray[np.float16]] = []
        self.load()

    def load(self) -> None:
        """Make the networks and what goes with them."""
        import torch

        self.vae = autoencoder.trained(self.job.run, self.job.networks, polished=False)
        self.encoder = autoencoder.digest(self.vae)
        self.vae.requires_grad_(False)
        self.vae.encoder.to(self.device, self.low, memory_format=torch.channels_last)
        if not (self.job.run / autoencoder.SCALE).is_file():
            first = dataset.TrainingPictures(self.job.pictures)
            first.extend(first.names()[:4])
            chosen = np.sort(np.random.default_rng(0).permutation(first.count)[:512])
            latents = autoencoder.encode(self.vae, first.rgb(chosen), self.device)
            autoencoder.save_scale(self.job.run, float(1.0 / latents.std()))
        self.scale = autoencoder.scale(self.job.run)

    def encode(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the latents of pictures."""
        return autoencoder.encode(self.vae, pictures, self.device) * np.float32(self.scale)

    def take(self, shard: dataset.OpenShard) -> None:
        path = self.job.run / "latents" / f"{shard.name}-{shard.digest[:8]}-{self.encoder[:8]}.npy"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = self.encode(np.asarray(shard.rgb)).astype(np.float16)
            temporary = path.with_suffix(f".{os.getpid()}.npy")
            np.save(temporary, made)
            temporary.replace(path)
        self.latents.append(np.load(path))


class DecoderTask(EncodedTask):
    """Trains the decoder on, with a discriminator that learns beside it."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.vae.decoder.requires_grad_(True)
        self.judge = features.discriminator()
        self.trainable = [self.vae.decoder, self.judge]
        self.seeing = features.network(self.device)

    def loss(self, step: int, rank: int, workers: int) -> Any:
        import torch

        rng, chosen = self.choose(step)
        own = chosen[self.share(rank, workers)]
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)) + rank)
        latents = np.stack([self.latents[s][i] for s, i in map(self.pictures.locate, own.tolist())]).astype(np.float32)
        clean = torch.from_numpy(latents)
        noise = torch.randn(clean.shape, generator=generator)
        clean = clean + LATENT_NOISE * noise
        true = autoencoder.as_input(self.pictures.rgb(own)).to(self.device)
        given = (clean / self.scale).to(self.device, self.low, memory_format=torch.channels_last)
        made = self.vae.decode(given).sample.float()
        with torch.no_grad():
            wanted = features.levels(self.seeing, true)
        shown = features.levels(self.seeing, made)
        loss = autoencoder.reconstruction_loss(made, true) + self.spec.perceptual * autoencoder.perceptual_loss(shown, wanted)
        for head, real, painted in zip(self.judge, wanted, shown, strict=True):
            real, painted = real.to(self.low), painted.to(self.low)
            # The decoder is told by a discriminator that does not give way; the discriminator learns from what it is shown.
            fixed = {name: parameter.detach() for name, parameter in head.named_parameters()}
            verdict = torch.func.functional_call(head, fixed, (painted,)).float()
            loss = loss - self.spec.adversarial * verdict.mean() / len(shown)
            errors = (1.0 - head(real).float()).relu().mean() + (1.0 + head(painted.detach()).float()).relu().mean()
            loss = loss + errors / len(shown)
        return loss / workers


class LatentTask(EncodedTask):
    """What base and control share: token ids, text encoder, UNet."""

    def __init__(self, job: Job) -> None:
        self.ids: list[NDArray[np.int32]] = []
        self.weights: list[NDArray[np.float16]] = []
        super().__init__(job)
        self.empty = text.token_ids(self.tokenizer, [""])[0].numpy()

    def load(self) -> None:
        super().load()
        self.noise = diffusion.Diffusion(networks.scheduler(), self.spec.times)
        self.tokenizer = tokenizer_of(self.job)
        size, start, end = len(self.tokenizer), self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        self.text = networks.text_encoder(self.job.networks, size, start, end)
        self.unet = networks.unet(self.job.networks)

    def take(self, shard: dataset.OpenShard) -> None:
        super().take(shard)
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
        if job.device == "cpu":
            plain_attention(self.unet)

    def loss(self, step: int, rank: int, workers: int) -> Any:
        batch = self.batch(step, rank, workers)
        words = self.text(batch["ids"]).last_hidden_state
        said = self.unet(batch["noisy"], batch["times"], words).sample
        return self.judged(said, batch) / workers


class ControlTask(LatentTask):
    """Trains a ControlNet on the locked base."""

    def __init__(self, job: Job) -> None:
        self.controls = controls.drawer(job.spec.control, job.run)
        super().__init__(job)
        self.controlnet = self.begun()
        for module in (self.unet, self.text):
            module.requires_grad_(False).eval()
        if job.device == "cpu":
            for module in (self.unet, self.controlnet):
                plain_attention(module)
        self.trainable = [self.controlnet]

    def load(self) -> None:
        super().load()
        read_base(self.job, self.unet, self.text)

    def begun(self) -> Any:
        """Return the ControlNet as the training begins: a copy of the base's encoder."""
        return networks.controlnet(self.unet, self.job.networks.control_channels, controls.channels(self.spec.control))

    def take(self, shard: dataset.OpenShard) -> None:
        super().take(shard)
        self.controls.take(shard)

    def prepare(self) -> None:
        import torch

        super().prepare()
        self.unet.to(self.device, self.low, memory_format=torch.channels_last)
        self.text.to(self.device, self.low)

    def loss(self, step: int, rank: int, workers: int) -> Any:
        import torch

        batch = self.batch(step, rank, workers)
        drawn = self.controls.batch(self.pictures, batch["chosen"], batch["geometry"])
        drawn[batch["blind"]] = 0
        control = torch.from_numpy(drawn).permute(0, 3, 1, 2).to(self.device, self.low).div_(255.0)
        control = control.expand(-1, max(3, drawn.shape[3]), -1, -1).contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(self.text.training):
            words = self.text(batch["ids"]).last_hidden_state
        down, middle = self.controlnet(batch["noisy"], batch["times"], words, control, return_dict=False)
        down, middle = [self.heard(one, batch) for one in down], self.heard(middle, batch)
        said = self.unet(
            batch["noisy"], batch["times"], words, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample
        return self.judged(said, batch) / workers

    def heard(self, residual: Any, batch: dict[str, Any]) -> Any:
        """Return what the base hears of what the ControlNet says (N, C, h, w)."""
        return residual


class TogetherTask(ControlTask):
    """Trains base and ControlNet on together, from where each of them ended.

    On a locked base what the ControlNet says must fit a decoder that never heard it; here both halves learn to speak. Pictures
    without a control are seen by the base alone, so that it goes on painting without one.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        for module in (self.unet, self.text):
            module.requires_grad_(True)
        self.trainable = [self.unet, self.text, self.controlnet]
        path = job.run / "control.safetensors"
        if not path.is_file():
            raise checkpoint.ForeignCheckpoint(f"no control in {job.run}: train the control first")
        optimise.restore(list(self.controlnet.parameters()), checkpoint.vector(path))

    def prepare(self) -> None:
        Task.prepare(self)

    def heard(self, residual: Any, batch: dict[str, Any]) -> Any:
        import torch

        sees = torch.from_numpy(~batch["blind"]).to(residual.device, residual.dtype)
        return residual * sees[:, None, None, None]


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
