"""A tokenizer trained here, in CLIP's format, so that any CLIPTokenizer reads it.

Enters: words that must be one token each. Leaves: a CLIPTokenizer. Byte-level: a word it has never seen is spelled in bytes,
nothing is unknown. Numbers come out as digits, as CLIP splits them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from models.caption.vocabulary import COLOURS, LIGHTS, MATERIALS, SCENES, height, side

START, END = "<|startoftext|>", "<|endoftext|>"

CLASS_WORDS = (
    "airplane aeroplane plane jet car hatchback sedan coupe wagon suv van pickup truck lorry bus minibus coach bicycle "
    "motorcycle "
    "scooter train boat ship sailboat chair armchair stool bench sofa couch table desk lamp mug cup coffee tea teapot "
    "kettle bottle "
    "vase bowl glass plate spoon fork knife guitar violin piano camera phone laptop keyboard monitor printer microwave "
    "oven toaster "
    "hammer screwdriver wrench drill saw axe helicopter rocket robot duck cow horse dog cat bird fish tree house door window bed "
    "cabinet shelf drawer box crate barrel backpack hat shoe clock watch bell ball umbrella wheel tyre cart wagon "
    "trailer tractor "
    "excavator crane fan heater sink bathtub toilet mailbox bin can pot pan basket lantern candle"
)
GRAMMAR_WORDS = (
    "a an the of and with without on in at from by to for is it its this that one two three single small large big tall "
    "short wide "
    "long round square old new modern classic vintage shiny matte dull bright dark light clean dirty plain simple photo "
    "photograph "
    "picture image render rendering view seen shown showing front back rear behind left right side above below high low "
    "top bottom "
    "close near far under over next beside standing placed lying parked sitting resting made surface body parts accents coloured "
    "colored colour color metal wood stone plastic ceramic steel brass leather fabric rubber concrete brick wall floor "
    "ground field "
    "lawn beach desert city street road studio room indoor indoors outdoor outdoors sky cloud clouds cloudy overcast "
    "sun sunny sunlight "
    "sunset sunrise dawn dusk noon day daylight night moon moonlight evening morning soft warm cold white grey gray background "
    "background detailed realistic low quality blurry deformed object model toy product style shot camera angle eye level"
)


def words() -> list[str]:
    """Return the words that captions are known to be made of, each once, sorted."""
    phrases = [CLASS_WORDS, GRAMMAR_WORDS, *COLOURS, *MATERIALS, *SCENES, *SCENES.values(), *LIGHTS, *LIGHTS.values()]
    phrases += [side(45.0 * sector) for sector in range(8)] + [height(angle) for angle in (-30.0, 0.0, 40.0, 80.0)]
    return split(phrases)


def split(phrases: Iterable[str]) -> list[str]:
    """Return the distinct words of some phrases, lower-case, sorted."""
    return sorted({word for phrase in phrases for word in re.findall(r"[^\W\d_]+", phrase.lower())})


def tokenizer(vocabulary: Iterable[str], length: int) -> Any:
    """Return a CLIPTokenizer to which each word of `vocabulary` is one token, for prompts of `length` tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1_000_000, min_frequency=1, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    trained.train_from_iterator(split(vocabulary), trainer)
    import json

    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet)]
    known = set(tokens)
    for first, second in merges:
        if first + second not in known:
            known.add(first + second)
            tokens.append(first + second)
    table = {token: index for index, token in enumerate([*tokens, START, END])}
    return CLIPTokenizer(vocab=table, merges=merges, model_max_length=length, pad_token=END)


def token_ids(tokenizer: Any, captions: list[str]) -> Any:
    """Return (N, length) token ids of captions, filled up and cut as the pipeline does it."""
    return tokenizer(
        captions, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids
