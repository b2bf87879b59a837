"""Captions by language models through the whole flow: a server that speaks OpenAI's API, and a model in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.caption import speaking
from tests.caption.speaking import KEY, MODEL, instruct_model
from tests.flows.conftest import Home, add_cars

pytestmark = pytest.mark.slow

CAPTIONS = (
    "select c.prompt, c.captioner, c.facts, s.status from captions c "
    "join samples s on s.caption_key = c.caption_key and s.in_cohort = 1 and s.recipe = "
)


def test_language_models_write_a_runs_captions_and_are_paid_once(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_cars(home, tmp_path / "cars", 2)
    with speaking.speaking() as server:
        monkeypatch.setenv("DST_LLM_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        server.first = [speaking.says("Sure! A car for you."), speaking.fails(429, Retry_After="0")]
        recipe = home.overrides({"name": "told", "caption": {"kind": "llm-api", "model": MODEL}})
        home.dst("run", "car", "--samples", "6", "--overrides", recipe)
        rows = home.rows(f"{CAPTIONS}'told'")
        assert len(rows) == 6
        assert {row["captioner"] for row in rows} == {f"llm-api: {MODEL}"}
        assert {row["status"] for row in rows} == {"made"}
        assert len({row["prompt"] for row in rows}) == 6
        asked, rendered = len(server.asked), home.digests("render")
        assert asked == 8
        facts = [json.loads(row["facts"]) for row in rows]
        # One answer was no caption and was paid for all the same; the busy server's was none.
        assert sum(fact["tokens_out"] for fact in facts) == 7 * 20
        assert [one["reason"] for fact in facts for one in fact["refused"]] == ["leaks_instructions"]
        home.dst("run", "car", "--samples", "6", "--overrides", recipe)
        assert len(server.asked) == asked, "a second run asks nothing again"
    assert not [path for path in home.path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]

    # The server is gone now, and what is here needs it no more; more samples would.
    home.dst("run", "car", "--samples", "6", "--overrides", recipe)
    said = home.dst("run", "car", "--samples", "8", "--overrides", recipe, code=2)
    assert f"told cannot write captions here: {server.url} cannot be reached" in said
    assert home.digests("render") == rendered, "nothing is rendered for captions that cannot be written"

    sentences = [
        f"a {colour} small car {place}" for colour in ("red", "blue", "white", "green") for place in ("at night", "in fog")
    ]
    folder = instruct_model(tmp_path / "instruct", sentences)
    local = {"kind": "llm-local", "model": str(folder), "dtype": "float32"}
    home.dst("run", "car", "--samples", "6", "--overrides", home.overrides({"name": "own", "caption": local}))
    rows = home.rows(f"{CAPTIONS}'own'")
    assert len(rows) == 6
    assert {row["prompt"] for row in rows if row["captioner"].startswith("llm-local")} <= set(sentences)
    assert sum(row["captioner"].startswith("llm-local") for row in rows) >= 3
    assert home.digests("render") == rendered, "captions of another kind render nothing again"
