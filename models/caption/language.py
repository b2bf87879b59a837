"""Captions by a language model: what it is asked, what of its answers is taken, and what stands in where none can be.

Enters: requests (class, keywords, viewpoint) and a kind of model that answers conversations. Leaves: a caption each: the first
answer that can be used (models.caption.acceptance), else after one more try the grammar's own, with the reasons on record.
Section 3.2 of the paper, whose captions come from a language model that completes class name and CAD keywords.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, ClassVar, Self

from models.caption import vocabulary
from models.caption.acceptance import Refusal, refusal, too_long
from models.caption.grammar import GrammarCaptioner, GrammarSpec, clean_keywords, viewpoint
from models.caption.protocol import Caption, CaptionRefused, CaptionRequest, CaptionSpec, Means, Taken

PROMPTS = Path(__file__).parent / "prompts"
Message = dict[str, str]
"""role (system, user, assistant) and content."""


@dataclass(frozen=True, kw_only=True)
class LanguageSpec(CaptionSpec):
    """What every kind of language model obeys."""

    counts_tokens: ClassVar[bool] = True

    model: str = ""
    """Which language model; each kind says how it is named."""
    prompt: str = "describe"
    """What it is told: one of models/caption/prompts, or a text file of the same three parts."""
    prompt_digest: str = ""
    """sha256 of that file, filled in by `pinned`."""
    synonyms: tuple[str, ...] = ()
    """Other words for the class that a caption may name it with."""
    temperature: float = 0.9
    """Of sampling; 0 takes the likeliest word each time, and captions repeat themselves."""
    top_p: float = 0.95
    """Words are drawn from the likeliest that have this probability together."""
    most_new_tokens: int = 120
    """Longest answer, in the language model's tokens."""
    attempts: int = 2
    """Answers asked for before the grammar stands in."""
    seed: int = 0
    """Mixed into the seed of each sample's answer."""
    suffix: str = ""
    """Said at the end of every caption, e.g. quality words for Stable Diffusion."""
    negative_prompt: str = ""
    """Negative prompt of every sample."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError(f'captions of kind {self.kind} need a model, as in [caption] kind = "{self.kind}", model = "..."')
        if not 0.0 <= self.temperature <= 2.0 or not 0.0 < self.top_p <= 1.0:
            raise ValueError("a caption's temperature lies in 0..2 and its top_p above 0 and up to 1")
        if not 8 <= self.most_new_tokens <= 4096 or not 1 <= self.attempts <= 10:
            raise ValueError("a caption's most_new_tokens lies in 8..4096 and its attempts in 1..10")

    def pinned(self) -> Self:
        """Return the spec with the prompt's digest. Raises ValueError where the file is not there or is another one."""
        found = hashlib.sha256(prompt_file(self.prompt).read_bytes()).hexdigest()
        if self.prompt_digest and self.prompt_digest != found:
            raise ValueError(f"the prompt {self.prompt} is not the one that the recipe asks for: {found[:12]}..., not "
                             f"{self.prompt_digest[:12]}...")  # fmt: skip
        return dataclasses.replace(self, prompt_digest=found)


def prompt_file(prompt: str) -> Path:
    """Return the file of a prompt. Raises ValueError where there is none."""
    path = PROMPTS / f"{prompt}.txt" if re.fullmatch(r"[\w-]+", prompt) else Path(prompt).expanduser()
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in PROMPTS.glob("*.txt")))
        raise ValueError(f"no prompt {prompt!r}: name one of ours ({known}) or a text file")
    return path


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What a language model is asked for one sample."""

    messages: tuple[Message, ...]
    """From the system's to the last user's."""
    seed: int
    """Of everything random in the answer."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What it answered."""

    text: str
    """As it came."""
    whole: bool = True
    """Whether it came to its end by itself."""
    tokens_in: int = 0
    """Tokens it was asked with."""
    tokens_out: int = 0
    """Tokens it answered with."""
    paid: bool = True
    """Whether it was asked just now; an answer of an earlier run costs nothing again."""
    unusable: str = ""
    """Why there is no answer to this question, such as a refusal by the server; "" where there is one."""


class LanguageCaptioner:
    """Base of the kinds: asks, checks, asks again, and lets the grammar stand in."""

    def __init__(self, spec: LanguageSpec, means: Means | None = None) -> None:
        self.spec: Any = spec.pinned()
        self.means = means or Means()
        parts = [part.strip() for part in re.split(r"(?m)^---$", prompt_file(spec.prompt).read_text())]
        if len(parts) != 3 or "$data" not in parts[1] or "$why" not in parts[2]:
            raise ValueError(f"the prompt {spec.prompt} needs three parts with --- between them: what the model is, $data, and "
                             "$why an answer cannot be used")  # fmt: skip
        self._system, self._asked, self._again = parts[0], Template(parts[1]), Template(parts[2])
        self._grammar = GrammarCaptioner(GrammarSpec(suffix=spec.suffix, negative_prompt=spec.negative_prompt))

    @property
    def batch(self) -> int:
        """How many conversations are answered together."""
        raise NotImplementedError

    def answers(self, asked: Sequence[Conversation]) -> list[Answer]:
        """Return the answer to each conversation. Raises ConnectionError where nobody answers at all: time may heal that."""
        raise NotImplementedError

    def captions(self, requests: Sequence[CaptionRequest], taken: Taken) -> Iterator[Caption | CaptionRefused]:
        """Yield the caption of each request in order, a batch at a time."""
        for start in range(0, len(requests), self.batch):
            yield from self._batch(requests[start : start + self.batch], taken)

    def _batch(self, requests: Sequence[CaptionRequest], taken: Taken) -> list[Caption | CaptionRefused]:
        made: dict[int, Caption | CaptionRefused] = {}
        tried: dict[int, list[tuple[Answer, Refusal]]] = {index: [] for index in range(len(requests))}
        for attempt in range(self.spec.attempts):
            pending = [index for index in tried if index not in made]
            asked = [self._conversation(requests[index], tried[index], attempt) for index in pending]
            for index, answer in zip(pending, self.answers(asked) if asked else [], strict=True):
                caption = self._caption(requests[index], answer, tried[index], taken)
                if isinstance(caption, Caption):
                    made[index] = caption
                else:
                    tried[index].append((answer, caption))
        for index, request in enumerate(requests):
            if index not in made:
                made[index] = self._instead(request, tried[index])
        return [made[index] for index in range(len(requests))]

    def _conversation(self, request: CaptionRequest, tried: Sequence[tuple[Answer, Refusal]], attempt: int) -> Conversation:
        idea = self._grammar.draw(request)
        seen = viewpoint(request.class_name, request.azimuth_deg, request.elevation_deg)
        ideas = {name: word for name in ("colour", "material", "scene", "light") if (word := getattr(idea, name))}
        data = {"class": request.class_name, "keywords": clean_keywords(request.keywords), "seen": seen, "ideas": ideas}
        messages = [
            {"role": "system", "content": self._system},
            {"role": "user", "content": self._asked.substitute(data=json.dumps(data, ensure_ascii=False))},
        ]
        for answer, refused in tried[-1:]:
            messages += [
                {"role": "assistant", "content": answer.text or "..."},
                {"role": "user", "content": self._again.substitute(why=refused.why)},
            ]
        return Conversation(messages=tuple(messages), seed=request.sample.seed(f"caption-{self.spec.seed}", attempt))

    def _caption(
        self, request: CaptionRequest, answer: Answer, tried: Sequence[tuple[Answer, Refusal]], taken: Taken
    ) -> Caption | Refusal:
        """Return the caption that an answer makes, or why it makes none."""
        if answer.unusable:
            return Refusal(reason="no_answer", why=answer.unusable)
        if not answer.whole:
            return Refusal(reason="cut_off", why="it was cut off before its end: make it shorter")
        text = cleaned(answer.text)
        prompt = f"{text}, {self.spec.suffix}" if self.spec.suffix else text
        # All but the length is asked of what the model wrote, without the suffix.
        refused = refusal(text, request, self.spec.synonyms, taken) or too_long(prompt, request)
        if refused is not None:
            return refused
        taken[text.casefold()] = str(request.sample)
        return Caption(
            prompt=prompt,
            negative_prompt=self.spec.negative_prompt,
            words=self._words(request, text),
            captioner=f"{self.spec.kind}: {self.spec.model}",
            revision=self._revision,
            facts=self._facts([*(answer for answer, _ in tried), answer], [refused for _, refused in tried]),
        )

    def _instead(self, request: CaptionRequest, tried: Sequence[tuple[Answer, Refusal]]) -> Caption | CaptionRefused:
        """Return the grammar's caption, with why it stands in."""
        try:
            caption = self._grammar.caption(request)
        except CaptionRefused as error:
            return error
        return dataclasses.replace(caption, facts=self._facts([answer for answer, _ in tried], [why for _, why in tried]))

    def _words(self, request: CaptionRequest, text: str) -> dict[str, Any]:
        low = f" {text.casefold()} "

        def said(words: Any) -> str | None:
            return next((word for word in words if re.search(rf"\b{re.escape(str(word))}\b", low)), None)

        keywords = [word for word in clean_keywords(request.keywords) if word.casefold() in low]
        return {
            "class_name": request.class_name,
            "keywords": keywords,
            "colour": said(vocabulary.COLOURS),
            "material": said(vocabulary.MATERIALS),
            "scene": said(vocabulary.SCENES),
            "light": said(vocabulary.LIGHTS),
            "viewpoint": viewpoint(request.class_name, request.azimuth_deg, request.elevation_deg) or None,
        }

    @property
    def _revision(self) -> str:
        pinned = getattr(self.spec, "revision", "")
        return "+".join(part for part in (pinned, f"prompt {self.spec.prompt} {self.spec.prompt_digest[:12]}") if part)

    def _facts(self, answers: Sequence[Answer], refused: Sequence[Refusal]) -> dict[str, Any]:
        paid = [answer for answer in answers if answer.paid]
        tokens_in, tokens_out = (sum(getattr(answer, name) for answer in paid) for name in ("tokens_in", "tokens_out"))
        price_in, price_out = self.means.prices
        return {
            "asked": len(answers),
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "cost": round((tokens_in * price_in + tokens_out * price_out) / 1e6, 6),
            "refused": [{"reason": one.reason, "why": one.why} for one in refused],
        }


def cleaned(text: str) -> str:
    """Return an answer without what surrounds it: thoughts, blanks, quotation marks, the last full stop."""
    text = re.sub(r"(?s)<think>.*?</think>", "", text).strip()
    if len(text) > 1 and text[0] in "\"'“‘" and text[-1] in "\"'”’":
        text = text[1:-1].strip()
    return re.sub(r"[ \t]+", " ", text).rstrip(".")
