"""The captioner `llm-local`: an instruct model on this machine, through transformers.

Enters: conversations. Leaves: answers, drawn word by word with a generator of each sample's own, so that an answer depends on its
sample and not on its neighbours in the batch (but for the last bits of a network's sums). Section 3.2 of the paper.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from models.caption.language import Answer, Conversation, LanguageCaptioner, LanguageSpec
from models.caption.protocol import Means
from models.device import pick_device
from models.image import weights

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class LlmLocalSpec(LanguageSpec):
    """An instruct model with a chat template: a folder, or a hub id with its commit."""

    implementation: ClassVar[str] = "models.caption.llm_local:LlmLocalCaptioner"
    version: ClassVar[int] = 1
    uses_device: ClassVar[bool] = True

    kind: Literal["llm-local"] = "llm-local"
    revision: str = ""
    """Hub id: the commit, 40 hex digits. Folder: `sha256:...` of its files, filled in by `pinned`."""
    dtype: str = "bfloat16"
    """float32, bfloat16 or float16."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dtype not in DTYPES:
            raise ValueError(f"no dtype {self.dtype!r}; there are {', '.join(DTYPES)}")

    def pinned(self) -> Self:
        return dataclasses.replace(super().pinned(), revision=weights.revision(self.model, self.revision))

    def lacking(self, means: Means) -> str | None:
        return weights.lacking([(self.model, self.revision)])


class LlmLocalCaptioner(LanguageCaptioner):
    """An instruct model, loaded once and asked in batches of a fixed shape."""

    def __init__(self, spec: LlmLocalSpec, means: Means | None = None) -> None:
        """Load the model. Raises UnknownModel, and ValueError for a model without a chat template."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        super().__init__(spec, means)
        if self.means.threads:
            torch.set_num_threads(self.means.threads)
        self._device = pick_device(self.means.device)
        # A folder may hold code of its own; none of it is run.
        source = weights.source(spec.model, spec.revision) | {"trust_remote_code": False}
        self._tokenizer = AutoTokenizer.from_pretrained(**source, padding_side="left")
        if not self._tokenizer.chat_template:
            raise ValueError(f"{spec.model} has no chat template: it is no instruct model; name one that follows instructions")
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        dtype = getattr(torch, spec.dtype)
        loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=dtype, use_safetensors=True)
        self._model = loaded.eval().to(self._device)

    @property
    def batch(self) -> int:
        return self.means.batch

    def answers(self, asked: Sequence[Conversation]) -> list[Answer]:
        """Return the answers, from a batch of the full shape: its last conversation fills it up."""
        import torch

        filled = [*asked, *[asked[-1]] * (self.batch - len(asked))]
        texts = [
            self._tokenizer.apply_chat_template(list(one.messages), tokenize=False, add_generation_prompt=True) for one in filled
        ]
        # The template has written the marks of beginning and end already.
        read = self._tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(self._device)
        with torch.no_grad():
            made = self._model.generate(
                **read,
                max_new_tokens=self.spec.most_new_tokens,
                pad_token_id=self._tokenizer.pad_token_id,
                logits_processor=[self._drawing([one.seed for one in filled])],
                # The noise below makes the likeliest word a drawn one; what the model's own settings say is of no account.
                do_sample=False,
                num_beams=1,
                temperature=1.0,
                top_p=1.0,
                top_k=50,
                repetition_penalty=1.0,
            )
        length = read["input_ids"].shape[1]
        ends = self._ends()
        answers = []
        for row in range(len(asked)):
            tokens = made[row, length:].tolist()
            stop = next((index for index, token in enumerate(tokens) if token in ends), None)
            text = self._tokenizer.decode(tokens[:stop], skip_special_tokens=True)
            spoken = len(tokens) if stop is None else stop + 1
            answers.append(
                Answer(text=text, whole=stop is not None, tokens_in=int(read["attention_mask"][row].sum()), tokens_out=spoken)
            )
        return answers

    def _ends(self) -> set[int]:
        """Return the tokens that end an answer."""
        said = self._model.generation_config.eos_token_id
        several = said if isinstance(said, list) else [said]
        return {int(token) for token in [*several, self._tokenizer.eos_token_id] if token is not None}

    def _drawing(self, seeds: Sequence[int]) -> Any:
        """Return a processor of logits whose highest one is a fair draw, for each row from a generator of its own.

        Adding Gumbel noise to the logits and taking the highest draws from their softmax (Gumbel 1954; Maddison et al. 2014).
        """
        import torch

        temperature, top_p = float(self.spec.temperature), float(self.spec.top_p)
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

        def draw(ids: Any, logits: Any) -> Any:
            if temperature == 0.0:
                return logits
            scaled = logits.float().cpu() / temperature
            ordered, order = scaled.sort(dim=-1, descending=True)
            share = ordered.softmax(dim=-1)
            # The word that reaches the share is still among them.
            ordered[share.cumsum(dim=-1) - share >= top_p] = -torch.inf
            kept = torch.full_like(scaled, -torch.inf).scatter(-1, order, ordered)
            noise = torch.stack([torch.rand(kept.shape[-1], generator=one, dtype=torch.float64) for one in generators])
            gumbel = -torch.log(-torch.log(noise.clamp_min(1e-300)))
            return (kept.double() + gumbel).to(logits.device)

        return draw
