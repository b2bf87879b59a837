"""A ControlNet on somebody else's base: Stable Diffusion, or any pipeline of its classes.

Enters: a base by folder or hub id and commit. Leaves: a Task like the embedded generator's own, whose latents, words and noise
are the base's. The base stays as it is; what comes out is a ControlNet folder for it. Paper section 3.1.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.image.weights import conditioning_channels, source
from models.training import controls, diffusion, networks
from models.training.tasks import ControlTask


class ForeignControlTask(ControlTask):
    """Trains a ControlNet on a locked foreign base."""

    def load(self) -> None:
        """Load the base: safetensors only, no code from its folder."""
        import torch
        from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        base = source(self.job.base, self.job.base_revision)
        weights = {"use_safetensors": True, "torch_dtype": torch.float32}
        self.tokenizer = CLIPTokenizer.from_pretrained(**base, subfolder="tokenizer")
        self.text = CLIPTextModel.from_pretrained(**base, subfolder="text_encoder", **weights)
        self.unet = UNet2DConditionModel.from_pretrained(**base, subfolder="unet", **weights)
        kind = AutoencoderTiny if _class_of(base) == "AutoencoderTiny" else AutoencoderKL
        self.vae = kind.from_pretrained(**base, subfolder="vae", **weights).eval().requires_grad_(False).to(self.device)
        self.encoder = hashlib.sha256(f"{self.job.base}@{self.job.base_revision}".encode()).hexdigest()
        self.noise = diffusion.Diffusion(DDIMScheduler.from_pretrained(**base, subfolder="scheduler"), self.spec.times)

    def begun(self) -> Any:
        """Return the base's own ControlNet where it has one, else a copy of its encoder."""
        return controlnet_of(self.job.base, self.job.base_revision, self.unet, controls.channels(self.spec.control))

    def encode(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the base's latents of pictures, scaled as its UNet expects them."""
        import torch

        made = []
        with torch.no_grad():
            for start in range(0, len(pictures), 8):
                batch = torch.from_numpy(np.array(pictures[start : start + 8])).permute(0, 3, 1, 2).float() / 127.5 - 1.0
                encoded = self.vae.encode(batch.to(self.device))
                latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
                made.append((latents * self.vae.config.scaling_factor).float().cpu().numpy())
        return np.concatenate(made)


def controlnet_of(base: str, commit: str, unet: Any, reads: int) -> Any:
    """Return the ControlNet that a training on a base begins with: the base's own where it has one, else a copy of `unet`.

    reads: the control's channels.
    """
    import torch
    from diffusers import ControlNetModel

    if conditioning_channels(base, commit, "controlnet") is None:
        return networks.controlnet(unet, networks.FOREIGN_CONTROL_CHANNELS, reads)
    where = {**source(base, commit), "subfolder": "controlnet", "use_safetensors": True, "torch_dtype": torch.float32}
    return networks.reading(ControlNetModel.from_pretrained(**where), reads)


def control_for(base: str, reads: int) -> Any:
    """Return a ControlNet as a training on a base (folder, or hub id@commit) begins with, to read trained weights into."""
    from diffusers import UNet2DConditionModel

    name, _, commit = (base, "", "") if Path(base).is_dir() else base.partition("@")
    unet = UNet2DConditionModel.from_pretrained(**source(name, commit), subfolder="unet", use_safetensors=True)
    return controlnet_of(name, commit, unet, reads)


def _class_of(base: dict[str, Any]) -> str:
    """Return the class that a base's autoencoder is saved as."""
    from diffusers import AutoencoderKL

    where = dict(base)
    config = AutoencoderKL.load_config(where.pop("pretrained_model_name_or_path"), subfolder="vae", **where)
    return str(config.get("_class_name", "AutoencoderKL"))
