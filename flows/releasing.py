"""Releasing: what of a catalog is released, and writing it, for the terminal and the Prefect UI alike. Knows no Prefect.

Enters: a format, a folder, a name and a condition, or a class and a recipe that stand for one. Leaves: the folder, and lines that
say what is in it.
"""

from __future__ import annotations

from pathlib import Path

from storage.catalog.catalog import Catalog
from storage.export.release import Released, export
from storage.export.selection import DEFAULT_WHERE, refuse_several_recipes
from storage.settings import Settings
from tasks import progress


def written(settings: Settings, format: str, out: Path, name: str, where: str | None) -> Released:
    """Write a release; its progress is told to whoever watches. Raises ValueError in one clear line."""
    bars: list[progress.Bar] = []

    def told(done: int, total: int, before: int) -> None:
        if not bars:
            bars.append(progress.Bar(stage="export", class_name=name, total=total, done=before))
        bars[0].advance(done - bars[0].done)

    catalog = Catalog(settings.catalog, settings.store)
    made = export(catalog, settings.store, format=format, out=out, name=name, where=where, told=told)
    for bar in bars:
        bar.finished = True
        bar.tell()
    return made


def in_words(made: Released, format: str) -> list[str]:
    """Return what a release came to: a line of what it is, lines of what was left out, its folder and its card."""
    kept = f", {made.samples - made.written} of them from before" if 0 < made.written < made.samples else ""
    there = " (was there already)" if not made.written else kept
    lines = [f"release {made.name}  {format}  {made.samples} samples{there}  digest {made.digest[:12]}"]
    if made.left_out:
        lines.append(f"{made.left_out} samples that the condition holds for have no image and are left out")
    if made.unjudged:
        lines.append(f'{made.unjudged} samples were not judged and are left out; with them: --where "in_cohort = 1"')
    return [*lines, str(made.out), f"its card: {made.out / 'README.md'}"]


def condition(catalog: Catalog, class_name: str, recipe: str, where: str) -> str | None:
    """Return the condition that a form stands for; None for a release of everything kept, whose recipe the export asks for.

    Empty: any. Raises SeveralRecipes where no recipe was said and the class was made under more than one.
    """
    parts = [f"({where})" if where else DEFAULT_WHERE]
    parts += [f"class_name = {_quoted(class_name)}"] if class_name else []
    parts += [f"recipe = {_quoted(recipe)}"] if recipe else []
    if len(parts) == 1:
        return where or None
    asked = " and ".join(parts)
    if not where and not recipe:
        refuse_several_recipes(catalog, asked)
    return asked


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
