"""The captioner `llm-api`: any server that speaks OpenAI's chat completions (vLLM, Ollama, LM Studio, hosted ones).

Enters: conversations. Leaves: answers, several asked for at once, each paid for once: an answer is kept under the digest of its
request. The openai client repeats what time can heal, as long as the server's Retry-After asks it to. Section 3.2 of the paper.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

from models.caption.language import Answer, Conversation, LanguageCaptioner, LanguageSpec
from models.caption.protocol import Means

REPEATS = 6
"""Times that the client asks again, with back-off, where the server is busy (429), broken (5xx) or away."""
ANSWERS_WITHIN_S = 120.0
LOOKS_WITHIN_S = 5.0
"""How long a look at the server may take before anything is made."""
INSTALL = "captions through a server need the openai client: pip install 'dst-platform[llm]'"


@dataclass(frozen=True, kw_only=True)
class LlmApiSpec(LanguageSpec):
    """A model behind a server. Where the server is, and its key, are settings: DST_LLM_URL, OPENAI_API_KEY."""

    implementation: ClassVar[str] = "models.caption.llm_api:LlmApiCaptioner"
    version: ClassVar[int] = 1

    kind: Literal["llm-api"] = "llm-api"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the longest answer; OpenAI's newer models know only the second."""

    def lacking(self, means: Means) -> str | None:
        if find_spec("openai") is None:
            return INSTALL
        return _server_says(self.model, means)


def _server_says(model: str, means: Means) -> str | None:
    """Return why the server cannot be asked for the model, None where it can."""
    import openai

    where = means.url or "OpenAI"
    if not means.url and not means.key:
        return (
            "captions of kind llm-api need a server: set DST_LLM_URL to an OpenAI-compatible one, or OPENAI_API_KEY for OpenAI's"
        )
    try:
        with _client(means, repeats=0, within_s=LOOKS_WITHIN_S) as client:
            known = [one.id for one in client.models.list().data or []]
    except openai.APIConnectionError as error:
        return f"{where} cannot be reached ({error.__cause__ or error}): start the server, or set DST_LLM_URL"
    except openai.AuthenticationError:
        return f"{where} refuses the key: set OPENAI_API_KEY to one of its keys"
    except (openai.NotFoundError, openai.PermissionDeniedError, openai.APIResponseValidationError, AttributeError):
        # Some servers list no models and answer all the same.
        return None
    except openai.APIError as error:
        return f"{where} does not answer as it should: {_line(error)}"
    if known and model not in known:
        return f"{where} has no model {model!r}; it has: {', '.join(known[:20])}"
    return None


def _client(means: Means, repeats: int, within_s: float) -> Any:
    import openai

    # The client insists on a key; servers on one's own machine ask for none.
    return openai.OpenAI(base_url=means.url or None, api_key=means.key or "none", max_retries=repeats, timeout=within_s)


class LlmApiCaptioner(LanguageCaptioner):
    """Asks a server, `connections` questions at a time."""

    def __init__(self, spec: LlmApiSpec, means: Means | None = None) -> None:
        """Raises ValueError where the client is not installed."""
        super().__init__(spec, means)
        if find_spec("openai") is None:
            raise ValueError(INSTALL)
        self._client = _client(self.means, REPEATS, ANSWERS_WITHIN_S)

    @property
    def batch(self) -> int:
        return self.means.connections

    def answers(self, asked: Sequence[Conversation]) -> list[Answer]:
        with ThreadPoolExecutor(self.means.connections, thread_name_prefix="captions") as pool:
            return list(pool.map(self._answer, asked))

    def _answer(self, conversation: Conversation) -> Answer:
        payload = self._payload(conversation)
        digest = hashlib.sha256(json.dumps(payload, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
        known = self.means.answered.get(digest)
        if known is None:
            known = self._ask(payload)
            # A broken answer is not kept: the next try may get a sound one.
            if known.get("choices"):
                self.means.answered[digest] = known
            return _read(known, paid=True)
        return _read(known, paid=False)

    def _payload(self, conversation: Conversation) -> dict[str, Any]:
        return {
            "model": self.spec.model,
            "messages": list(conversation.messages),
            "temperature": self.spec.temperature,
            "top_p": self.spec.top_p,
            self.spec.limit: self.spec.most_new_tokens,
            # Servers take seeds of 32 bits.
            "seed": conversation.seed % 2**31,
            "n": 1,
        }

    def _ask(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Return the server's answer as JSON. Raises ConnectionError where time may heal what is wrong, else ValueError."""
        import openai

        try:
            answered = self._client.chat.completions.create(**payload)
        except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError) as error:
            raise ConnectionError(f"{self._where} gave no caption after {REPEATS + 1} tries: {_line(error)}") from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise ValueError(f"{self._where} refuses the key: set OPENAI_API_KEY ({_line(error)})") from error
        except openai.NotFoundError as error:
            raise ValueError(f"{self._where} has no model {self.spec.model!r} ({_line(error)})") from error
        except openai.APIStatusError as error:
            # This question alone is refused, by a content filter for example.
            return {"refused": _line(error)}
        except (openai.APIError, ValueError) as error:
            return {"refused": f"its answer cannot be read: {_line(error)}"}
        if not hasattr(answered, "model_dump"):
            return {"refused": "its answer is not JSON"}
        said: dict[str, Any] = answered.model_dump(mode="json", warnings=False)
        return said

    @property
    def _where(self) -> str:
        return self.means.url or "OpenAI"


def _read(said: Mapping[str, Any], paid: bool) -> Answer:
    """Return what a server's JSON answers."""
    choices = said.get("choices")
    choice = _table(choices[0]) if isinstance(choices, list) and choices else {}
    message = _table(choice.get("message"))
    text = message.get("content")
    if not isinstance(text, str):
        return Answer(
            text="", unusable=str(said.get("refused") or message.get("refusal") or "the answer holds no text"), paid=paid
        )
    usage = _table(said.get("usage"))
    return Answer(
        text=text,
        whole=choice.get("finish_reason") in ("stop", None),
        tokens_in=int(usage.get("prompt_tokens") or 0),
        tokens_out=int(usage.get("completion_tokens") or 0),
        paid=paid,
    )


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
