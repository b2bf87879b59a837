"""The words that captions are made of, shared by the captioner and by the world that the embedded generator is trained on.

For every word here two things hold: the grammar captioner may use it, and the training world can show what it means.
"""

from __future__ import annotations

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.75, 0.05, 0.04),
    "orange": (0.90, 0.35, 0.03),
    "yellow": (0.90, 0.75, 0.06),
    "green": (0.08, 0.45, 0.10),
    "blue": (0.05, 0.16, 0.70),
    "purple": (0.35, 0.08, 0.55),
    "pink": (0.90, 0.40, 0.60),
    "brown": (0.28, 0.14, 0.06),
    "black": (0.02, 0.02, 0.02),
    "white": (0.88, 0.88, 0.86),
    "grey": (0.35, 0.35, 0.36),
}
"""Colour name -> linear RGB base colour, each in [0, 1]."""

MATERIALS: tuple[str, ...] = ("painted", "metallic", "glass", "wooden", "marbled", "checkered", "two-tone")
"""Surface words. `painted` is the plain one and may stay unsaid; wood is brown whatever the colour word, so it has none."""

SCENES: dict[str, str] = {
    "grass": "on grass",
    "sand": "on sand",
    "snow": "in the snow",
    "road": "on a road",
    "wood floor": "on a wooden floor",
    "tiles": "on a tiled floor",
    "water": "on water",
    "studio": "in a white studio",
    "room": "in a room with a brick wall",
}
"""Scene word -> phrase."""

LIGHTS: dict[str, str] = {
    "noon": "in bright sunlight",
    "sunset": "at sunset",
    "overcast": "under an overcast sky",
    "night": "at night",
    "studio": "in soft studio light",
}
"""Light word -> phrase. Indoors (studio, room) only `studio` and `night` occur; outdoors all but `studio`."""

INDOOR: frozenset[str] = frozenset({"studio", "room", "wood floor", "tiles"})
"""Scenes under a roof."""


def lights_of(scene: str) -> tuple[str, ...]:
    """Return the light words that go with a scene word."""
    return ("studio", "night") if scene in INDOOR else ("noon", "sunset", "overcast", "night")


def side(azimuth_deg: float) -> str:
    """Return the phrase for the side that a camera at `azimuth_deg` sees (0 = front, 90 = the object's own left side)."""
    sector = int(((azimuth_deg % 360.0) + 22.5) // 45.0) % 8
    return (
        "seen from the front",
        "seen from the front left",
        "seen from the left side",
        "seen from behind on the left",
        "seen from behind",
        "seen from behind on the right",
        "seen from the right side",
        "seen from the front right",
    )[sector]


def height(elevation_deg: float) -> str:
    """Return the phrase for a camera's elevation in degrees; empty at eye level."""
    if elevation_deg < -10.0:
        return "from below"
    if elevation_deg > 60.0:
        return "from high above"
    if elevation_deg > 25.0:
        return "from above"
    return ""


ROUND: frozenset[str] = frozenset(
    {"ball", "bottle", "bowl", "bucket", "candle", "can", "cylinder", "globe", "plate", "sphere", "vase"}
)
"""Nouns of things that look alike from all sides: captions name the camera's height only."""


def has_sides(class_name: str) -> bool:
    """Return whether left, right, front and back of a class can be told apart."""
    return class_name.split()[-1:] != [] and class_name.split()[-1] not in ROUND
