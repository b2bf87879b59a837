"""Weights as a folder that plain diffusers loads, without this project's code.

Enters: the networks. Leaves: a folder in diffusers' layout, half precision, safetensors, complete or not there at all.
"""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from models.training import networks


def save_pipeline(folder: Path, vae: Any, text_encoder: Any, tokenizer: Any, unet: Any, controlnet: Any, scheduler: Any) -> None:
    """Write a StableDiffusionControlNetPipeline to `folder`, in half precision, replacing what is there at once."""
    import torch
    from diffusers import StableDiffusionControlNetPipeline

    halves = {
        name: copy.deepcopy(network).to(torch.float16, memory_format=torch.contiguous_format)
        for name, network in (("vae", vae), ("text_encoder", text_encoder), ("unet", unet), ("controlnet", controlnet))
    }
    pipeline = StableDiffusionControlNetPipeline(
        **halves,
        tokenizer=tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        pipeline.save_pretrained(temporary, safe_serialization=True)
        _write_clip_files(temporary / "tokenizer", tokenizer)
        _load_as_float32(temporary / "text_encoder" / "config.json")
        card = folder / "README.md"
        if card.is_file():
            shutil.copyfile(card, temporary / "README.md")
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def export_run(run: Path, folder: Path, sizes: networks.NetworkSpec) -> Path:
    """Write what a run has trained so far (running means) to `folder`; base and control without a checkpoint stay initial.

    A ControlNet that was not trained is a copy of the base behind zero convolutions: it changes nothing.
    """
    from transformers import CLIPTokenizer

    from models.training import autoencoder, checkpoint, optimise

    tokenizer = CLIPTokenizer.from_pretrained(run / "tokenizer")
    vae = autoencoder.trained(run, sizes)
    encoder = networks.text_encoder(sizes, len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    unet = networks.unet(sizes)
    path = run / "base.safetensors"
    if path.is_file():
        optimise.restore([*unet.parameters(), *encoder.parameters()], checkpoint.vector(path))
    controlnet = networks.controlnet(unet, sizes.control_channels)
    path = run / "control.safetensors"
    if path.is_file():
        optimise.restore(list(controlnet.parameters()), checkpoint.vector(path))
    path = run / "together.safetensors"
    if path.is_file():
        both = [*unet.parameters(), *encoder.parameters(), *controlnet.parameters()]
        optimise.restore(both, checkpoint.vector(path))
    save_pipeline(folder, vae, encoder, tokenizer, unet, controlnet, networks.scheduler())
    return folder


def import_run(folder: Path, run: Path, sizes: networks.NetworkSpec) -> None:
    """Begin a run where landed weights end: its checkpoints are the folder's weights, at step 0, without the optimiser's memory.

    The run is begun whole or not at all. Raises ValueError when it has begun already, or when the folder holds no pipeline or one
    of other sizes.
    """
    from diffusers import AutoencoderTiny, ControlNetModel, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    from models.training import autoencoder, checkpoint, optimise
    from models.training.tasks import layout_of

    if has_begun(run):
        raise ValueError(
            f"{run} has begun already: it goes on from its own checkpoints; take another folder to begin from weights"
        )
    refuse_other_sizes(folder, sizes)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    vae = AutoencoderTiny.from_pretrained(folder / "vae")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    controlnet = ControlNetModel.from_pretrained(folder / "controlnet")
    # Written beside and renamed: a half-written run would train its missing stages from nothing.
    beside = run.with_name(f"{run.name}-beginning")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    tokenizer.save_pretrained(beside / "tokenizer")
    autoencoder.save_scale(beside, vae.config.scaling_factor)
    for stage, modules in (("autoencoder", [vae]), ("base", [unet, text_encoder]), ("control", [controlnet])):
        vector = optimise.collect([parameter for module in modules for parameter in module.parameters()])
        state = {
            "master": vector,
            "ema": vector.clone(),
            "first": vector.new_zeros(len(vector)),
            "second": vector.new_zeros(len(vector)),
        }
        checkpoint.save(beside / f"{stage}.safetensors", state, checkpoint.Standing(layout=layout_of(modules)))
    beside.rename(run)


def has_begun(run: Path) -> bool:
    """Say whether anything of a run is on disk."""
    return run.is_dir() and any(run.iterdir())


def refuse_other_sizes(folder: Path, sizes: networks.NetworkSpec) -> None:
    """Raise ValueError when `folder` holds no pipeline, or one whose networks are of other sizes."""
    try:
        settings = json.loads((folder / "unet" / "config.json").read_text())
    except (OSError, ValueError):
        raise ValueError(f"{folder} is no folder of a trained generator: it has no unet/config.json that can be read") from None
    if (
        tuple(settings.get("block_out_channels", ())) != sizes.unet_channels
        or settings.get("in_channels") != sizes.latent_channels
    ):
        raise ValueError(
            f"{folder} holds networks of other sizes than this training's; a ControlNet on a base like that is trained by "
            f"dst train --base {folder}"
        )


def export_control(run: Path, folder: Path, base: str, reads: int = 3) -> Path:
    """Write a ControlNet that was trained on a foreign base to `folder`, not the base. reads: the control's channels."""
    from models.training import checkpoint, optimise
    from models.training.foreign_base import control_for

    controlnet = control_for(base, reads)
    optimise.restore(list(controlnet.parameters()), checkpoint.vector(run / "control.safetensors"))
    controlnet.save_pretrained(folder, safe_serialization=True)
    return folder


def _write_clip_files(folder: Path, tokenizer: Any) -> None:
    """Add vocab.json and merges.txt beside tokenizer.json, for readers that know only CLIP's own two files."""
    tokenizer.backend_tokenizer.model.save(str(folder))


def _load_as_float32(path: Path) -> None:
    """Let transformers load the half-precision file as float32 when nothing else is asked for, as diffusers does with its own."""
    settings = json.loads(path.read_text())
    settings["dtype"] = "float32"
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
