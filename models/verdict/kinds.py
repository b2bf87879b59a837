"""The kinds of judges and rules there are. A new one is a module of this package and one line here."""

from __future__ import annotations

from models.kinds import Kinds
from models.verdict.clip import ClipSpec
from models.verdict.duplicate import DuplicateSpec
from models.verdict.ensemble import EnsembleSpec
from models.verdict.fidelity import FidelitySpec
from models.verdict.kcf import KcfSpec
from models.verdict.kcf_official import KcfOfficialSpec
from models.verdict.pose import PoseSpec
from models.verdict.protocol import JudgeSpec, RuleSpec
from models.verdict.quality import QualitySpec
from models.verdict.rules import AtLeastSpec, AtMostSpec, BestShareSpec
from models.verdict.shape import ShapeSpec
from models.verdict.text import TextSpec
from models.verdict.wish import WishSpec

JUDGES: Kinds[JudgeSpec] = Kinds(
    "judge",
    [KcfSpec, KcfOfficialSpec, FidelitySpec, QualitySpec, DuplicateSpec, EnsembleSpec, PoseSpec, ShapeSpec, TextSpec, ClipSpec],
)
RULES: Kinds[RuleSpec] = Kinds("rule", [AtMostSpec, AtLeastSpec, BestShareSpec, WishSpec])
