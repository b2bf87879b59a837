"""Pipelines of the real classes with small random weights, saved to folders."""

from __future__ import annotations

from pathlib import Path

from models.training import networks, text
from models.training.export import save_pipeline


def random_pipeline(folder: Path, spec: networks.NetworkSpec = networks.TINY, seed: int = 0, reads: int = 3) -> Path:
    """Write a complete pipeline with random weights to `folder` and return it: the code path without the training.

    reads: channels of the control. Zero convolutions are given small random weights, so that the control changes the image.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = text.tokenizer(text.words(), spec.text_tokens)
        unet = networks.unet(spec)
        controlnet = networks.controlnet(unet, spec.control_channels, reads)
        for parameter in controlnet.parameters():
            if not parameter.detach().any():
                torch.nn.init.normal_(parameter.data, std=0.5)
        encoder = networks.text_encoder(spec, len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
        vae = networks.autoencoder(spec)
        # Fresh networks predict next to nothing and decode it to black; louder ones show what edges and words do.
        unet.conv_out.weight.data *= 10.0
        last = vae.decoder.layers[-1]
        last.weight.data *= 30.0
        last.bias.data.fill_(0.5)
        save_pipeline(folder, vae, encoder, tokenizer, unet, controlnet, networks.scheduler())
    return folder
