"""A server that speaks OpenAI's chat completions as real ones do, with their misfortunes, and a language model in a folder."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODEL = "instruct-1b"
KEY = "key-of-the-tests"
_HOW = ("shiny", "dusty", "weathered", "spotless", "worn", "gleaming", "plain", "rusty", "elegant", "sturdy", "wet", "faded")
_WHERE = (
    "on grass",
    "on sand",
    "in the snow",
    "on a road",
    "on water",
    "on a wooden floor",
    "on a tiled floor",
    "in a white studio",
)
_WHEN = ("at sunset", "at night", "in bright sunlight", "under an overcast sky", "in soft studio light")


def sentence(payload: dict[str, Any]) -> str:
    """Return a caption as a sound model writes it: from the data it is given, another one for another seed."""
    said = next(message["content"] for message in payload["messages"] if message["role"] == "user")
    data, seed = json.loads(said), int(payload["seed"])
    picked = [words[seed // divisor % len(words)] for words, divisor in ((_HOW, 1), (_WHERE, 101), (_WHEN, 10007))]
    article = "an" if picked[0][0] in "aeiou" else "a"
    view = f", {data['seen']}" if data["seen"] else ""
    return f"{article} {picked[0]} {data['class']} {picked[1]} {picked[2]}{view}"


Misfortune = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


def answer(handler: BaseHTTPRequestHandler, text: str, finish: str = "stop") -> None:
    """Send an answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 300, "completion_tokens": 20, "total_tokens": 320}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], "usage": usage}
    send(handler, 200, json.dumps(body).encode())


def send(handler: BaseHTTPRequestHandler, code: int, body: bytes, **headers: str) -> None:
    """Send a response."""
    handler.send_response(code)
    for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def says(text: str, finish: str = "stop") -> Misfortune:
    """Answer with a text of one's own."""
    return lambda handler, payload: answer(handler, text, finish)


def fails(code: int, **headers: str) -> Misfortune:
    """Answer with an error of the server."""
    body = json.dumps({"error": {"message": f"error {code}", "type": "server_error"}}).encode()
    return lambda handler, payload: send(handler, code, body, **headers)


def rubbish(handler: BaseHTTPRequestHandler, payload: dict[str, Any]) -> None:
    """Answer with a page for people."""
    send(handler, 200, b"<html>it works!</html>", **{"content-type": "text/html"})


def nothing(handler: BaseHTTPRequestHandler, payload: dict[str, Any]) -> None:
    """Answer with no choice at all."""
    send(handler, 200, b'{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}')


def cut_off(handler: BaseHTTPRequestHandler, payload: dict[str, Any]) -> None:
    """Promise more than is sent, and hang up."""
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"id": "1", "choices": [')
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.close()


def slow(handler: BaseHTTPRequestHandler, payload: dict[str, Any]) -> None:
    """Answer soundly, but late."""
    time.sleep(0.3)
    answer(handler, sentence(payload))


@dataclass
class Server:
    """What was asked, and what is still to be answered in another way than soundly."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    first: list[Misfortune] = field(default_factory=list)
    """What the next requests get, one each."""
    always: Misfortune | None = None
    """What all others get; None: a sound answer."""
    together: int = 0
    """The most requests that were being answered at once."""


@contextmanager
def speaking() -> Iterator[Server]:
    """Serve chat completions under `url`; closed at the end."""
    said, lock, now = Server(), threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            send(self, 200, json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode())

        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                said.asked.append(payload)
                said.keys.append(self.headers.get("authorization"))
                now[0] += 1
                said.together = max(said.together, now[0])
                how = said.first.pop(0) if said.first else said.always
            try:
                if how is None:
                    answer(self, sentence(payload))
                else:
                    how(self, payload)
            finally:
                with lock:
                    now[0] -= 1

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield said
        server.shutdown()


CHAT = (
    "{% for message in messages %}{{ '<' + message['role'] + '> ' + message['content'] + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant> ' }}{% endif %}"
)


def instruct_model(folder: Path, captions: list[str], steps: int = 150, template: str = CHAT) -> Path:
    """Write a small model of a real class to `folder`, taught to answer with one of `captions`, each as likely as the others."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    marks = ["<pad>", "<end>", "<unk>", "<system>", "<user>", "<assistant>"]
    vocabulary = {word: index for index, word in enumerate([*marks, *sorted({w for text in captions for w in text.split()})])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", chat_template=template or None
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(vocabulary), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=2048, bos_token_id=None, eos_token_id=1, pad_token_id=0,
        )  # fmt: skip
        model = LlamaForCausalLM(config)
        rows = tokenizer([f"<assistant> {text} <end>" for text in captions], padding=True, return_tensors="pt")
        labels = rows["input_ids"].masked_fill(rows["attention_mask"] == 0, -100)
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(steps):
            optimiser.zero_grad()
            # What stands before the answer is of no account to it: unknown words, as many as there may be.
            before = torch.full((len(captions), int(torch.randint(0, 40, ()))), 2)
            whole, wanted = torch.cat([before, rows["input_ids"]], 1), torch.cat([before * 0 - 100, labels], 1)
            model(input_ids=whole, attention_mask=(whole != 0).long(), labels=wanted).loss.backward()
            optimiser.step()
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder
