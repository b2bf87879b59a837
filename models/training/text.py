"""A tokenizer trained here, in CLIP's format, so that any CLIPTokenizer reads it.

Enters: words that must be one token each. Leaves: a CLIPTokenizer. Byte-level: a word it has never seen is spelled in bytes,
nothing is unknown. Numbers come out as digits, as CLIP splits them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
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
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = _merges(split(vocabulary))
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet)]
    known = set(tokens)
    for first, second in merges:
        if first + second not in known:
            known.add(first + second)
            tokens.append(first + second)
    table = {token: index for index, token in enumerate([*tokens, START, END])}
    return CLIPTokenizer(vocab=table, merges=merges, model_max_length=length, pad_token=END)


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Return the byte pairs that make each word one token, the most frequent first, ties in order of the alphabet.

    The tokenizers library's own trainer breaks ties by chance, and with them the promise that a training can be repeated.
    """
    from tokenizers import pre_tokenizers

    spell = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    letters = ["".join(piece for piece, _ in spell(word)) for word in words]
    spelled = [[*word[:-1], f"{word[-1]}</w>"] for word in letters]
    merges = []
    while pairs := Counter(pair for word in spelled for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_joined(word, best) for word in spelled]
    return merges


def _joined(word: list[str], pair: tuple[str, str]) -> list[str]:
    """Return the pieces of a word with every occurrence of `pair` made one piece."""
    if pair[0] not in word:
        return word
    made: list[str] = []
    for piece in word:
        if made and (made[-1], piece) == pair:
            made[-1] += piece
        else:
            made.append(piece)
    return made


def token_ids(tokenizer: Any, captions: list[str]) -> Any:
    """Return (N, length) token ids of captions, filled up and cut as the pipeline does it."""
    return tokenizer(
        captions, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids
