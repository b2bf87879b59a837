"""Which device the networks run on."""

from __future__ import annotations


class NoDevice(ValueError):
    """A device that this machine does not have; one line that says what it has."""


def pick_device(device: str) -> str:
    """Return `device`, with `auto` resolved to what this machine has: cuda, mps or cpu. Raises NoDevice."""
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        asked = torch.device(device)
    except RuntimeError:
        raise NoDevice(f'DST_DEVICE: there is no device "{device}"; there are: {", ".join(_here())}') from None
    # What torch itself would say comes late, and of a driver that is missing it says a page.
    if str(asked) not in _here():
        raise NoDevice(f"DST_DEVICE: this machine has no {device}; it has: {', '.join(_here())}")
    return device


def _here() -> list[str]:
    """Return the names of the devices of this machine."""
    import torch

    cuda = ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
    return ["auto", "cpu", *cuda, *(["mps", "mps:0"] if torch.backends.mps.is_available() else [])]


def memory(device: str) -> float:
    """Return the bytes of memory that a device has in all; of this machine where it is no GPU of its own."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.get_device_properties(device).total_memory)
    import psutil

    return float(psutil.virtual_memory().total)
