"""The judge `clip`: does the picture show what its words say, to a CLIP model of the hub or of a folder?

Enters: images with the words that the generator was given. Leaves: `clip`, how near picture and caption are (CLIPScore: Hessel et
al. 2021, 2.5 times the cosine, within 0..1), and `clip_class`, the same of "a photo of a CLASS"; low is suspect. Each image is
judged by itself, imported ones too; one without a caption has only `clip_class`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from models.image import weights
from models.verdict.protocol import Evidence, Judgement, JudgeSpec, Progress

if TYPE_CHECKING:
    import torch

WEIGHT = 2.5
"""A cosine of 0.4 and more counts as 1 (Hessel et al.)."""
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class ClipSpec(JudgeSpec):
    """Which CLIP model reads."""

    implementation: ClassVar[str] = "models.verdict.clip:Clip"
    version: ClassVar[int] = 1
    scores: ClassVar[tuple[str, ...]] = ("clip", "clip_class")

    kind: Literal["clip"] = "clip"
    model: str = ""
    """Hub id, or a folder as transformers saves it: config.json, safetensors and the tokenizer's files. There is no default."""
    revision: str = ""
    """Commit of a hub id; of a folder the digest of its weights, filled in."""

    def pinned(self) -> Self:
        """Return the spec with the digest of a folder's weights filled in. Raises UnknownModel, in one line."""
        if not self.model:
            raise weights.UnknownModel(
                'the judge clip needs weights: [verdict.judges.clip] model = "FOLDER" (as transformers saves a CLIPModel and its '
                "tokenizer), or a hub id with its commit as revision"
            )
        return dataclasses.replace(self, revision=weights.revision(self.model, self.revision))

    def in_words(self, scores: Mapping[str, float | None], annotation: Mapping[str, Any]) -> str:
        """Return which words the picture is far from."""
        said = {name: value for name in ("clip", "clip_class") if (value := scores.get(name)) is not None}
        if not said:
            return super().in_words(scores, annotation)
        far = min(said, key=lambda name: said[name])
        return f"the picture is far from its {'caption' if far == 'clip' else 'class'} (CLIPScore {said[far]:.2f})"

    def lacking(self) -> str | None:
        """Return, in one line, which weights are missing here and what to do; None where none are."""
        try:
            asked = self.pinned()
        except weights.UnknownModel as error:
            return str(error)
        return weights.lacking([(asked.model, asked.revision)], "[verdict.judges.clip]")


class Clip:
    """Compares each image with its words."""

    def __init__(self, spec: ClipSpec, device: str = "cpu", threads: int | None = None) -> None:
        """device: where the model works; threads: cores for torch, None: its own choice. Raises UnknownModel."""
        import torch
        from transformers import CLIPModel, CLIPTokenizer

        from models.device import pick_device

        if threads is not None:
            torch.set_num_threads(threads)
        asked = spec.pinned()
        source = weights.source(asked.model, asked.revision)
        self.name = Path(asked.model).name
        self.device = pick_device(device)
        self.model = CLIPModel.from_pretrained(**source, use_safetensors=True).eval().requires_grad_(False).to(self.device)
        self.tokenizer = CLIPTokenizer.from_pretrained(**source)

    def judge(self, evidence: Sequence[Evidence], progress: Progress | None = None) -> Judgement:
        """Return both scores of each image, `clip` NaN where nobody knows its caption."""
        scores = {name: np.full(len(evidence), np.nan) for name in ClipSpec.scores}
        for start in range(0, len(evidence), _BATCH):
            some = evidence[start : start + _BATCH]
            seen = self._pictures([one.image() for one in some])
            wanted = {"clip": [one.caption for one in some], "clip_class": [f"a photo of a {one.class_name}" for one in some]}
            for name, texts in wanted.items():
                cosine = (seen * self._texts(texts)).sum(1).double().cpu().numpy()
                told = np.array([bool(text) for text in texts])
                scores[name][start : start + len(some)] = np.where(told, np.clip(WEIGHT * cosine, 0.0, 1.0), np.nan)
            if progress:
                progress(start + len(some), len(evidence))
        missing = int(np.isnan(scores["clip"]).sum())
        why = f"{missing} of {len(evidence)} images have no caption" if missing else None
        return Judgement(scores=scores, facts={"words": f"pictures against captions and class, by {self.name}"}, not_judged=why)

    def _pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """Return (N, D) unit vectors, of the middle square of each picture as CLIP was trained on."""
        import cv2
        import torch
        from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

        side = int(self.model.config.vision_config.image_size)
        squares = []
        for picture in pictures:
            span = min(picture.shape[:2])
            top, left = (picture.shape[0] - span) // 2, (picture.shape[1] - span) // 2
            how = cv2.INTER_AREA if span > side else cv2.INTER_CUBIC
            squares.append(cv2.resize(picture[top : top + span, left : left + span], (side, side), interpolation=how))
        pixels = (np.stack(squares).astype(np.float32) / 255.0 - np.array(OPENAI_CLIP_MEAN)) / np.array(OPENAI_CLIP_STD)
        given = torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32)).to(self.device)
        return self._unit(self.model.vision_model(pixel_values=given).pooler_output, self.model.visual_projection)

    def _texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return (N, D) unit vectors; what is longer than CLIP reads is cut off."""
        longest = int(self.model.config.text_config.max_position_embeddings)
        told = self.tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt").to(self.device)
        return self._unit(self.model.text_model(**told).pooler_output, self.model.text_projection)

    def _unit(self, pooled: torch.Tensor, projection: torch.nn.Module) -> torch.Tensor:
        from torch.nn.functional import normalize

        made: torch.Tensor = normalize(projection(pooled), dim=1)
        return made
