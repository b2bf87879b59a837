"""A CLIP model that has learned nothing."""

from __future__ import annotations

from pathlib import Path


def saved(folder: Path) -> Path:
    """Return the folder, with model and tokenizer in it as transformers saves them."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    from models.training.text import tokenizer

    tokens = tokenizer(["car", "teapot", "photo", "red"], 16)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": len(tokens), "max_position_embeddings": 16}
    text |= {"bos_token_id": tokens.bos_token_id, "eos_token_id": tokens.eos_token_id}
    vision = {**small, "image_size": 32, "patch_size": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder
