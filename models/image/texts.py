"""What a generator's text encoders say of prompts, encoded once for each: captions come again with every further image of a view,
and the words of what is not to be shown with every image.

Enters: pairs of prompt and negative prompt. Leaves: a batch's tensors, as a pipeline takes them. Pairs that are new are encoded
together in a batch of the full shape, so that what is said of one does not depend on the others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

KEPT = 128
"""Pairs whose tensors are kept, in the machine's own memory: 4 MB each where T5 reads 512 tokens."""

Pair = tuple[str, str]
"""(prompt, negative prompt)"""
Encode = Callable[[list[str], list[str]], Mapping[str, Any]]
"""Called with prompts and negative prompts, as many of each: argument of the pipeline -> tensor, one row for each."""


class Texts:
    """The pairs that were asked for last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], dict[str, Any]] = OrderedDict()

    def of(self, pairs: Sequence[Pair], guided: bool, encode: Encode, device: str) -> dict[str, Any]:
        """Return argument -> tensor (len(pairs), ...) on the device, with those of the negative prompts only where `guided`."""
        import torch

        size = len(pairs)

        def key(pair: Pair) -> tuple[Any, ...]:
            # The shape changes the last bits.
            return (size, guided, *pair)

        new = [pair for pair in dict.fromkeys(pairs) if key(pair) not in self._kept]
        if new:
            filled = new + [new[-1]] * (size - len(new))
            made = encode([said for said, _ in filled], [unsaid for _, unsaid in filled])
            for row, pair in enumerate(new):
                self._kept[key(pair)] = {name: tensor[row].cpu() for name, tensor in made.items()}
        found = []
        for pair in pairs:
            self._kept.move_to_end(key(pair))
            found.append(self._kept[key(pair)])
        while len(self._kept) > max(KEPT, size):
            self._kept.popitem(last=False)
        return {name: torch.stack([one[name] for one in found]).to(device) for name in found[0]}
