"""Class names: one spelling, safe in a file name, a prompt and a query.

Enters: what a person typed. Leaves: the same, or a ValueError that proposes a spelling.
"""

from __future__ import annotations

import re
import unicodedata

_RULE = re.compile(r"[a-z0-9][a-z0-9 -]{0,63}")


class BadClassName(ValueError):
    """A class name that breaks the rule; the message says which and proposes one that does not."""


def check_class_name(name: str) -> str:
    """Return `name` if it is a class name: lower-case ASCII letters, digits, spaces, hyphens, at most 64. Raises BadClassName."""
    if _RULE.fullmatch(name) and not name.endswith(" ") and "  " not in name:
        return name
    proposal = suggestion(name)
    shown = "".join(c if c.isprintable() else "?" for c in (name if len(name) <= 80 else name[:77] + "..."))
    rule = "lower-case letters a-z, digits, spaces and hyphens, at most 64"
    raise BadClassName(f"“{shown}” cannot be a class name ({rule})" + (f'; say "{proposal}"' if proposal else ""))


def spelled(name: str) -> str:
    """Return a folder's name as a class is spelled: small letters, blanks for underscores; itself where that is no class."""
    spelling = " ".join(name.replace("_", " ").lower().split())
    return spelling if _RULE.fullmatch(spelling) else name


def suggestion(name: str) -> str:
    """Return the nearest name that obeys the rule, "" if nothing is left of it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9-]+", " ", plain.replace("'", "")).strip(" -")
    return words[:64].strip(" -")
