"""Beginning from smaller networks: wider ones that say about the same from the first step (Net2Net, Chen et al. 2016).

Enters: the folder of a trained generator whose networks are narrower, and a run whose autoencoder is trained. Leaves: the run's
base as it begins: each new channel is a copy of an old one, copies share what the old one gave, the text encoder is taken over
word by word, and latents of the run are read and written through a linear map to those of the folder. Normalisation over other
groups and an autoencoder of its own make it an approximation, from which training goes on in a few hundred steps.

    python -m models.training.widen --pictures world --run run --begin-from embedded
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training import autoencoder, checkpoint, dataset, networks, optimise
from models.training.tasks import Job, layout_of, tokenizer_of

PICTURES = 384
"""Pictures from which the map between the two autoencoders' latents is found."""
_STEPS = 1000
"""Noise levels of the diffusion process."""


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Which of some old channels each new one is a copy of."""

    of: NDArray[np.int64]
    """(new,) index of the old channel."""
    share: NDArray[np.float32]
    """(new,) the part of what the old channel gave that this copy gives; copies of one channel sum to 1."""
    old: int
    """Old channels."""

    @classmethod
    def drawn(cls, of: NDArray[np.int64], old: int, rng: np.random.Generator) -> Copies:
        """Return copies with unequal shares: equal ones would learn the same for ever."""
        weight = rng.uniform(0.3, 0.7, len(of))
        share = weight / np.bincount(of, weight, old)[of]
        return cls(of=of, share=share.astype(np.float32), old=old)

    @classmethod
    def in_groups(cls, old: int, new: int, groups: int, rng: np.random.Generator) -> Copies:
        """Return copies within each group, so that a group's mean and spread stay about what they are."""
        before, after = old // groups, new // groups
        extra = [rng.choice(before, after - before, replace=after - before > before) for _ in range(groups)]
        return cls.drawn(np.concatenate([g * before + np.r_[np.arange(before), extra[g]] for g in range(groups)]), old, rng)

    @classmethod
    def of_heads(cls, old: int, new: int, width: int, rng: np.random.Generator) -> Copies:
        """Return copies of whole attention heads of `width` channels."""
        heads = np.arange(new // width) % (old // width)
        return cls.drawn((heads[:, None] * width + np.arange(width)).reshape(-1), old, rng)

    def beside(self, other: Copies) -> Copies:
        """Return the copies of two tensors side by side."""
        of, share = np.r_[self.of, self.old + other.of], np.r_[self.share, other.share]
        return Copies(of=of, share=share, old=self.old + other.old)


class _Widening:
    """The weights of one network, written into a wider one piece by piece."""

    def __init__(self, old: Any, new: Any, rng: np.random.Generator) -> None:
        self.old, self.made, self.rng = old.state_dict(), new.state_dict(), rng
        before, after = old.config.block_out_channels, new.config.block_out_channels
        self.groups = new.config.norm_num_groups
        self.levels = [Copies.in_groups(a, b, self.groups, rng) for a, b in zip(before, after, strict=True)]
        self.time = Copies.in_groups(4 * before[0], 4 * after[0], self.groups, rng)
        self.waves = old.time_proj, new.time_proj
        self.heads = [new.config.block_out_channels[i] // n for i, n in enumerate(new.config.attention_head_dim)]

    def layer(self, name: str, into: Copies | None, out: Copies | None) -> None:
        """Widen a convolution or a linear layer; None: that side stays as it is."""
        import torch

        weight = self.old[f"{name}.weight"]
        if into is not None:
            share = torch.from_numpy(into.share).view(1, -1, *[1] * (weight.dim() - 2))
            weight = weight[:, into.of] * share
        self.made[f"{name}.weight"] = weight if out is None else weight[out.of]
        if f"{name}.bias" in self.old:
            bias = self.old[f"{name}.bias"]
            self.made[f"{name}.bias"] = bias if out is None else bias[out.of]

    def norm(self, name: str, channels: Copies) -> None:
        for part in ("weight", "bias"):
            self.made[f"{name}.{part}"] = self.old[f"{name}.{part}"][channels.of]

    def resnet(self, name: str, into: Copies, out: Copies) -> None:
        self.norm(f"{name}.norm1", into)
        self.layer(f"{name}.conv1", into, out)
        self.layer(f"{name}.time_emb_proj", self.time, out)
        self.norm(f"{name}.norm2", out)
        self.layer(f"{name}.conv2", out, out)
        if f"{name}.conv_shortcut.weight" in self.old:
            self.layer(f"{name}.conv_shortcut", into, out)

    def attention(self, name: str, channels: Copies, width: int) -> None:
        old, new = channels.old, len(channels.of)
        heads = Copies.of_heads(old, new, width, self.rng)
        inner = Copies.in_groups(4 * old, 4 * new, self.groups, self.rng)
        self.norm(f"{name}.norm", channels)
        self.layer(f"{name}.proj_in", channels, channels)
        block = f"{name}.transformer_blocks.0"
        for norm in ("norm1", "norm2", "norm3"):
            self.norm(f"{block}.{norm}", channels)
        for attends, words in (("attn1", channels), ("attn2", None)):
            self.layer(f"{block}.{attends}.to_q", channels, heads)
            for part in ("to_k", "to_v"):
                self.layer(f"{block}.{attends}.{part}", words, heads)
            self.layer(f"{block}.{attends}.to_out.0", heads, channels)
        gated = Copies(of=np.r_[inner.of, 4 * old + inner.of], share=np.r_[inner.share, inner.share], old=8 * old)
        self.layer(f"{block}.ff.net.0.proj", channels, gated)
        self.layer(f"{block}.ff.net.2", inner, channels)
        self.layer(f"{name}.proj_out", channels, channels)

    def embedding_of_time(self) -> None:
        """Let the wider network read a noise level as the old one did: its waves are others, so this is a fit."""
        import torch

        steps = torch.arange(_STEPS)
        wave, seen = (waves(steps).double() for waves in self.waves)
        name = "time_embedding.linear_1"
        wanted = wave @ self.old[f"{name}.weight"].double().T + self.old[f"{name}.bias"].double()
        known = torch.cat([seen, torch.ones(_STEPS, 1, dtype=torch.float64)], 1)
        found = _fitted(known, wanted)
        self.made[f"{name}.weight"] = found[:-1].T[self.time.of]
        self.made[f"{name}.bias"] = found[-1][self.time.of]
        self.layer("time_embedding.linear_2", self.time, self.time)

    def encoder(self, old: Any, read: Any) -> None:
        """Widen what UNet and ControlNet have in common; read: (old, new) latent channels, how new latents are read as old."""
        import torch

        self.embedding_of_time()
        first = torch.einsum("oikl,ij->ojkl", self.old["conv_in.weight"], read)
        self.made["conv_in.weight"] = first[self.levels[0].of]
        self.made["conv_in.bias"] = self.old["conv_in.bias"][self.levels[0].of]
        before = self.levels[0]
        for i, block in enumerate(old.down_blocks):
            level = self.levels[i]
            for j in range(len(block.resnets)):
                self.resnet(f"down_blocks.{i}.resnets.{j}", before if j == 0 else level, level)
                if getattr(block, "has_cross_attention", False):
                    self.attention(f"down_blocks.{i}.attentions.{j}", level, self.heads[i])
            before = level
            if block.downsamplers:
                self.layer(f"down_blocks.{i}.downsamplers.0.conv", level, level)
        last = self.levels[-1]
        self.resnet("mid_block.resnets.0", last, last)
        self.attention("mid_block.attentions.0", last, self.heads[-1])
        self.resnet("mid_block.resnets.1", last, last)


def widen_unet(old: Any, new: Any, read: Any, write: Any, seed: int = 0) -> None:
    """Write the weights of a UNet into a wider one of the same shape.

    read (old, new), write (new, old): linear maps of a latent's channels, from the new autoencoder's to the old one's and back.
    """
    import torch

    widening = _Widening(old, new, np.random.default_rng(seed))
    widening.encoder(old, read)
    levels = widening.levels[::-1]
    here, heads = levels[0], widening.heads[::-1]
    for i, block in enumerate(old.up_blocks):
        before, here, below = here, levels[i], levels[min(i + 1, len(levels) - 1)]
        count = len(block.resnets)
        for j in range(count):
            skipped = below if j == count - 1 else here
            widening.resnet(f"up_blocks.{i}.resnets.{j}", (before if j == 0 else here).beside(skipped), here)
            if getattr(block, "has_cross_attention", False):
                widening.attention(f"up_blocks.{i}.attentions.{j}", here, heads[i])
        if block.upsamplers:
            widening.layer(f"up_blocks.{i}.upsamplers.0.conv", here, here)
    widening.norm("conv_norm_out", here)
    share = torch.from_numpy(here.share).view(1, -1, 1, 1)
    last = widening.old["conv_out.weight"][:, here.of] * share
    widening.made["conv_out.weight"] = torch.einsum("ji,iokl->jokl", write, last)
    widening.made["conv_out.bias"] = write @ widening.old["conv_out.bias"]
    new.load_state_dict(widening.made)


def widen_controlnet(old: Any, new: Any, read: Any, seed: int = 0) -> None:
    """Write the weights of a ControlNet into a wider one, whose UNet was widened with the same seed."""
    widening = _Widening(old, new, np.random.default_rng(seed))
    widening.encoder(old, read)
    cond = "controlnet_cond_embedding"
    for name in widening.old:
        if name.startswith(cond):
            widening.made[name] = widening.old[name]
    widening.layer(f"{cond}.conv_out", None, widening.levels[0])
    widths = {level.old: level for level in widening.levels}
    for i, block in enumerate(old.controlnet_down_blocks):
        level = widths[block.out_channels]
        widening.layer(f"controlnet_down_blocks.{i}", level, level)
    widening.layer("controlnet_mid_block", widening.levels[-1], widening.levels[-1])
    new.load_state_dict(widening.made)


def words_of(old: Any, old_tokenizer: Any, new: Any, new_tokenizer: Any) -> int:
    """Write a text encoder's weights into one of the same sizes with another vocabulary; return how many words both know."""
    state = dict(old.state_dict())
    name = next(key for key in state if "token_embedding" in key)
    table, known = new.state_dict()[name].clone(), old_tokenizer.get_vocab()
    shared = [(index, known[word]) for word, index in new_tokenizer.get_vocab().items() if word in known]
    shared += [(getattr(new_tokenizer, end), getattr(old_tokenizer, end)) for end in ("bos_token_id", "eos_token_id")]
    for index, there in shared:
        table[index] = state[name][there]
    new.load_state_dict({**state, name: table}, strict=False)
    return len(shared)


def latent_maps(old: NDArray[np.float32], new: NDArray[np.float32]) -> tuple[Any, Any]:
    """Return the linear maps (old, new) and (new, old) between the channels of encodings (N, C, h, w) of the same pictures."""
    import torch

    flat = [torch.from_numpy(each).permute(0, 2, 3, 1).reshape(-1, each.shape[1]).double() for each in (old, new)]
    return _fitted(flat[1], flat[0]).T.contiguous(), _fitted(flat[0], flat[1]).T.contiguous()


def begin_base(job: Job, folder: Path) -> int:
    """Write the checkpoint with which the run's base begins, from the networks in `folder`; return how many words both know.

    Raises ValueError when the run has a base already, and ForeignCheckpoint when it has no autoencoder.
    """
    from diffusers import AutoencoderTiny, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    if job.checkpoint.is_file():
        raise ValueError(f"{job.run} has a base already; move {job.checkpoint.name} away to begin another one")
    pictures = dataset.TrainingPictures(job.pictures)
    pictures.extend(pictures.names()[:2])
    shown = pictures.rgb(np.arange(min(PICTURES, pictures.count)))
    own = autoencoder.encode(autoencoder.trained(job.run, job.networks), shown, "cpu") * autoencoder.scale(job.run)
    theirs = AutoencoderTiny.from_pretrained(folder, subfolder="vae")
    old_latents = autoencoder.encode(theirs, shown, "cpu") * float(theirs.config.scaling_factor)
    read, write = latent_maps(old_latents, np.asarray(own, np.float32))
    unet, tokenizer = networks.unet(job.networks), tokenizer_of(job)
    widen_unet(UNet2DConditionModel.from_pretrained(folder, subfolder="unet"), unet, read, write)
    words = networks.text_encoder(job.networks, len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    old_words = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder")
    shared = words_of(old_words, CLIPTokenizer.from_pretrained(folder / "tokenizer"), words, tokenizer)
    vector = optimise.collect([*unet.parameters(), *words.parameters()])
    empty = {name: vector.new_zeros(len(vector)) for name in ("first", "second")}
    standing = checkpoint.Standing(layout=layout_of([unet, words]))
    checkpoint.save(job.checkpoint, {"master": vector, "ema": vector.clone(), **empty}, standing)
    return shared


def _fitted(known: Any, wanted: Any) -> Any:
    """Return the matrix that turns `known` (N, a) into `wanted` (N, b), by least squares, in float32."""
    import torch

    ridge = 1e-2 * torch.eye(known.shape[1], dtype=known.dtype)
    nothing = torch.zeros(known.shape[1], wanted.shape[1], dtype=known.dtype)
    return torch.linalg.lstsq(torch.cat([known, ridge]), torch.cat([wanted, nothing])).solution.float()


def main(arguments: Sequence[str] | None = None) -> None:
    from models.image.weights import EMBEDDED, folder_of
    from models.training.sitting import job_of

    parser = argparse.ArgumentParser(description="Begin a run's base from narrower networks.")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of shards")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run, with its autoencoder")
    parser.add_argument("--begin-from", default=EMBEDDED, help="a folder of trained weights, or embedded")
    given = parser.parse_args(arguments)
    folder = folder_of(given.begin_from)
    assert folder is not None, "a hub id names no networks of ours"
    shared = begin_base(job_of("base", given.pictures, given.run, networks.NetworkSpec()), folder)
    print(f"{given.run}: the base begins from {folder}; {shared} words are known to both")


if __name__ == "__main__":
    main()
