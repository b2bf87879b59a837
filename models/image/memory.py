"""How many images a generator paints at once where memory is short: half as many, until they fit.

Enters: the batch that was asked for, and errors. Leaves: the batch that fits, shared by all ways of sampling of one generator.
"""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass

log = logging.getLogger("dst")

_SAID = ("out of memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What errors of torch say where there is no class of their own: on a processor, on Apple's devices, inside a library."""


@dataclass
class Shape:
    """The shape of a batch."""

    size: int
    """Images that are painted at once."""

    def halve(self, error: BaseException) -> None:
        """Take half as many from now on. Raises `error` where it is none of memory, or where one alone does not fit."""
        if not out_of_memory(error) or self.size == 1:
            raise error
        self.size = (self.size + 1) // 2
        log.warning("out of memory: images are painted %d at once from here on", self.size)


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error is one of memory."""
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID)
    )


def give_back(device: str) -> None:
    """Give back what a batch that did not fit has left: before the next one asks for it."""
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
