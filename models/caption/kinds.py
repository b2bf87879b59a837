"""The kinds of captioner there are. A new one is a module of this package and one line here."""

from __future__ import annotations

from models.caption.grammar import GrammarSpec
from models.caption.imported import ImportedSpec
from models.caption.llm_api import LlmApiSpec
from models.caption.llm_local import LlmLocalSpec
from models.caption.protocol import CaptionSpec
from models.kinds import Kinds

CAPTIONERS: Kinds[CaptionSpec] = Kinds("captioner", [GrammarSpec, ImportedSpec, LlmLocalSpec, LlmApiSpec])
