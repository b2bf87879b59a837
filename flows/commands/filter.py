"""`dst filter`: which images of a class are kept, decided anew over stored scores, from a terminal.

Enters: what is to be kept, in words. Leaves: a named decision in the catalog, and a table of what it drops and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flows import deciding
from flows.commands.terminal import print_rows, watched
from flows.deciding import Outcome
from flows.live import person
from storage.settings import Settings
from tasks.plan.place import Place


def decide(
    settings: Settings, class_name: str, keep: str | None, judges: Sequence[str], name: str, default: bool, recipe: str | None
) -> None:
    """Decide, let more judges measure, make a decision the default, or list those there are. Raises ValueError."""
    place = Place.of(settings)
    place.catalog.migrate()
    if keep is None and not judges and not name:
        if default:
            raise ValueError('say which decision is to be the default: --keep "lose 5%", or --name NAME of one there is')
        _list(place, class_name, recipe)
        return
    by = person()
    with watched(quiet=True):
        if keep is not None:
            made = deciding.decide(place, class_name, keep, judges=judges, name=name, default=default, recipe=recipe, by=by)
        elif judges:
            if name:
                raise ValueError("more judges are heard by what `kept` shows now, so --name needs a --keep")
            made = deciding.hear(place, class_name, judges, recipe, by)
        else:
            if not default:
                raise ValueError(
                    f'say what is to be kept (--keep "lose 5%"), or make {name} the default: --name "{name}" --default'
                )
            made = deciding.make_default(place, class_name, name, recipe, by)
    _tell(place, made)


def _tell(place: Place, made: Outcome) -> None:
    row = made.row
    print(f"{row['class_name']}, recipe {row['recipe']}: {made.line}")
    for judge, said in made.values["judges"].items():
        if said["not_judged"]:
            print(f"{judge}: {said['judged']} judged; not judged: {said['not_judged']}")
    print_rows(deciding.dropped(place, made))
    if row["is_default"]:
        print(f'"{row["name"]}" is what `kept` shows now')
    else:
        class_name = f'"{row["class_name"]}"' if " " in row["class_name"] else row["class_name"]
        print(f'on record as "{row["name"]}"; for `kept` to show it: dst filter {class_name} --name "{row["name"]}" --default')


def _list(place: Place, class_name: str, recipe: str | None) -> None:
    deciding.known_class(place, class_name)
    rows = [_shown(place, row) for row in place.catalog.decisions(class_name, recipe)]
    if not rows:
        print(f'{class_name} has no decision but its recipe\'s; make one: dst filter "{class_name}" --keep "lose 5%"')
        return
    print_rows(rows)
    if not any(row["default"] for row in rows):
        print("none is the default: `kept` shows what the recipe's rules say")


def _shown(place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = place.catalog.rows(
        "SELECT kept_images, dropped_images, unjudged_images FROM filters WHERE verdict_key = :key", key=row["verdict_key"]
    )
    expected = row["expected"] or {}
    return {
        "name": row["name"],
        "recipe": row["recipe"],
        "keep": row["keep"],
        "kept": found["kept_images"],
        "dropped": found["dropped_images"],
        "not judged": found["unjudged_images"],
        "expected precision": f"{expected['precision']:.0%}" if expected else "",
        "expected recall": f"{expected['recall']:.0%}" if expected else "",
        "default": "yes" if row["is_default"] else "",
        "by": row["decided_by"],
        "at": row["decided_at"][:19],
    }
