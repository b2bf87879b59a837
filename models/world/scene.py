"""What one picture of the training world looks like: all that is random about it, drawn before anything is shaded.

Enters: a random generator and the camera's azimuth. Leaves: a Look: the words that a caption may say, and the numbers that make
them true. All colours are linear RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.caption import vocabulary

RGB = tuple[float, float, float]

MATERIAL_SHARES = {
    "painted": 0.40,
    "metallic": 0.16,
    "glass": 0.08,
    "wooden": 0.08,
    "marbled": 0.08,
    "checkered": 0.10,
    "two-tone": 0.10,
}
"""Share of the pictures in which the body is of each material."""

SCENE_SHARES = {
    "grass": 0.15,
    "sand": 0.10,
    "snow": 0.11,
    "road": 0.16,
    "wood floor": 0.10,
    "tiles": 0.09,
    "water": 0.09,
    "studio": 0.11,
    "room": 0.09,
}
"""Share of the pictures of each scene."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One appearance: words, and the numbers behind them."""

    colour: str
    """Key of vocabulary.COLOURS: the body's colour (brown where the material is wooden)."""
    material: str
    """One of vocabulary.MATERIALS."""
    scene: str
    """Key of vocabulary.SCENES."""
    light: str
    """Key of vocabulary.LIGHTS."""
    body: RGB
    """The body's base colour, near that of the word."""
    second: RGB
    """The other colour of checks, veins and two-tone bodies."""
    grain: float
    """Size of the material's pattern, 0 fine .. 1 coarse."""
    gloss: float
    """0 matt .. 1 mirror-like."""
    sun: RGB
    """Unit direction towards the main light."""
    sun_colour: RGB
    """Its irradiance on a surface that faces it."""
    softness: float
    """Radius of the main light as a tangent: 0.02 a sun, 0.3 an area light."""
    zenith: RGB
    """Radiance overhead."""
    horizon: RGB
    """Radiance at the horizon."""
    lamp: float
    """0 by day; at night the strength of the lamp that lights the object and little around it."""
    clouds: float
    """0 clear .. 1 covered."""
    backdrop: float
    """Height of what stands at the horizon (trees, hills, houses), as a tangent; 0 is nothing."""
    yaw_deg: float
    """How the ground's pattern and the walls are turned."""
    ground: RGB
    """Colour of the ground, near its scene's."""
    accent: RGB
    """Colour of walls, verges and tiles."""
    scale: float
    """Size of the ground's pattern, around 1."""
    texture: int
    """Which noise tables."""
    exposure: float
    """Gain before tone mapping."""
    distractors: bool
    """Whether the view's distractors, if any, stand in this picture."""


def _jitter(rng: np.random.Generator, colour: RGB, amount: float) -> RGB:
    values = np.clip(np.array(colour) * np.exp(rng.normal(0.0, amount, 3) * 0.6 + rng.normal(0.0, amount)), 0.004, 0.95)
    return float(values[0]), float(values[1]), float(values[2])


def _mix(first: RGB, second: RGB, share: float) -> RGB:
    a = [x * (1 - share) + y * share for x, y in zip(first, second)]
    return a[0], a[1], a[2]


GROUNDS: dict[str, tuple[RGB, ...]] = {
    "grass": ((0.09, 0.22, 0.03), (0.12, 0.26, 0.05), (0.16, 0.24, 0.05)),
    "sand": ((0.62, 0.45, 0.25), (0.70, 0.55, 0.34), (0.55, 0.36, 0.18)),
    "snow": ((0.82, 0.86, 0.92),),
    "road": ((0.075, 0.077, 0.082), (0.12, 0.12, 0.12), (0.05, 0.05, 0.055)),
    "wood floor": ((0.36, 0.19, 0.08), (0.48, 0.29, 0.13), (0.24, 0.12, 0.05)),
    "tiles": ((0.75, 0.74, 0.70), (0.55, 0.60, 0.62), (0.70, 0.60, 0.48)),
    "water": ((0.01, 0.08, 0.13), (0.01, 0.12, 0.14), (0.02, 0.06, 0.16)),
    "studio": ((0.84, 0.84, 0.84),),
    "room": ((0.22, 0.17, 0.13), (0.30, 0.30, 0.30), (0.16, 0.18, 0.22)),
}
"""Ground colours of each scene."""

ACCENTS: dict[str, tuple[RGB, ...]] = {
    "grass": ((0.03, 0.09, 0.02),),
    "sand": ((0.45, 0.30, 0.15),),
    "snow": ((0.45, 0.52, 0.62), (0.05, 0.09, 0.06)),
    "road": ((0.08, 0.18, 0.03), (0.30, 0.24, 0.16), (0.25, 0.25, 0.25)),
    "wood floor": ((0.70, 0.66, 0.58), (0.45, 0.55, 0.62), (0.62, 0.52, 0.40), (0.60, 0.62, 0.55)),
    "tiles": ((0.78, 0.78, 0.76), (0.50, 0.60, 0.66), (0.20, 0.22, 0.24)),
    "water": ((0.05, 0.10, 0.07),),
    "studio": ((0.86, 0.86, 0.86),),
    "room": ((0.42, 0.13, 0.07), (0.50, 0.20, 0.11), (0.34, 0.11, 0.07)),
}
"""Colours of walls, verges and tiles, or of a pattern's other half."""


def sample_words(rng: np.random.Generator) -> dict[str, str]:
    """Return colour, material, scene and light words that go together."""
    material = str(rng.choice(list(MATERIAL_SHARES), p=list(MATERIAL_SHARES.values())))
    colour = str(rng.choice(list(vocabulary.COLOURS)))
    scene = str(rng.choice(list(SCENE_SHARES), p=list(SCENE_SHARES.values())))
    lights = vocabulary.lights_of(scene)
    # Night is dark and hard to read, so it is rarer than its equal share.
    weights = np.array([0.6 if light == "night" else 1.0 for light in lights])
    light = str(rng.choice(lights, p=weights / weights.sum()))
    return {"colour": "brown" if material == "wooden" else colour, "material": material, "scene": scene, "light": light}


def sample_look(rng: np.random.Generator, azimuth_deg: float, words: dict[str, str] | None = None) -> Look:
    """Return one appearance for a camera at `azimuth_deg`; `words` (as sample_words returns them) fixes some of it."""
    words = words or sample_words(rng)
    colour, material, scene, light = words["colour"], words["material"], words["scene"], words["light"]
    indoor = scene in vocabulary.INDOOR
    base = vocabulary.COLOURS[colour]
    body = _jitter(rng, base, 0.06 if colour in ("black", "white", "grey") else 0.12)
    if colour in ("black", "white", "grey"):
        body = _mix(body, (float(np.mean(body)),) * 3, 0.8)
    pale = float(np.mean(base)) > 0.45 or colour in ("yellow", "white", "pink")
    second: RGB = (0.03, 0.03, 0.035) if pale else (0.80, 0.80, 0.78)
    if material == "two-tone" and colour not in ("black", "white", "grey"):
        choices: list[RGB] = [(0.03, 0.03, 0.035), (0.80, 0.80, 0.78), (0.32, 0.33, 0.35)]
        second = choices[int(rng.integers(3))]
    # The main light mostly comes from the camera's side, so that the visible half of the object is lit.
    turn = np.radians(azimuth_deg + float(rng.normal(0.0, 60.0)))
    rise = np.radians(
        {
            "noon": rng.uniform(38, 75),
            "sunset": rng.uniform(9, 22),
            "overcast": rng.uniform(60, 85),
            "night": rng.uniform(45, 75),
            "studio": rng.uniform(40, 75),
        }[light]
    )
    sun = (float(np.cos(rise) * np.sin(turn)), float(-np.cos(rise) * np.cos(turn)), float(np.sin(rise)))
    palette: dict[str, tuple[RGB, RGB, RGB, float]] = {
        "noon": ((2.3, 2.2, 2.0), (0.16, 0.34, 0.78), (0.62, 0.76, 0.92), 0.03),
        "sunset": ((1.75, 1.22, 0.78), (0.20, 0.20, 0.40), (0.95, 0.50, 0.24), 0.06),
        "overcast": ((0.35, 0.35, 0.36), (0.62, 0.65, 0.69), (0.74, 0.76, 0.78), 0.5),
        "night": ((0.10, 0.13, 0.24), (0.006, 0.010, 0.035), (0.020, 0.034, 0.085), 0.05),
        "studio": ((1.25, 1.22, 1.16), (0.80, 0.80, 0.80), (0.62, 0.62, 0.62), 0.28),
    }
    sun_colour, zenith, horizon, softness = palette[light]
    if light == "night" and indoor:
        zenith, horizon = (0.03, 0.03, 0.045), (0.02, 0.022, 0.035)
    clouds = {"noon": rng.choice([0.0, rng.uniform(0.2, 0.7)]), "sunset": rng.uniform(0.0, 0.8), "overcast": 1.0}.get(light, 0.0)
    tall = {"grass": 0.22, "sand": 0.14, "snow": 0.28, "road": 0.25, "water": 0.06}.get(scene, 0.0)
    return Look(
        colour=colour,
        material=material,
        scene=scene,
        light=light,
        body=body,
        second=second,
        grain=float(rng.random()),
        gloss=float(np.clip(rng.normal(0.55, 0.25), 0.05, 1.0)),
        sun=sun,
        sun_colour=_jitter3(rng, sun_colour, 0.06),
        softness=softness * float(rng.uniform(0.6, 1.4)),
        zenith=_jitter3(rng, zenith, 0.12),
        horizon=_jitter3(rng, horizon, 0.12),
        lamp=float(rng.uniform(1.2, 1.8)) if light == "night" else 0.0,
        clouds=float(clouds),
        backdrop=float(tall * rng.uniform(0.25, 1.0)) if rng.random() < 0.75 else 0.0,
        yaw_deg=float(rng.choice([0.0, 90.0]) + rng.normal(0.0, 12.0)) if scene == "road" else float(rng.uniform(0.0, 360.0)),
        ground=_jitter(
            rng, GROUNDS[scene][int(rng.integers(len(GROUNDS[scene])))], 0.10 if scene not in ("snow", "studio") else 0.02
        ),
        accent=_jitter(rng, ACCENTS[scene][int(rng.integers(len(ACCENTS[scene])))], 0.10 if scene != "studio" else 0.02),
        scale=float(np.exp(rng.normal(0.0, 0.25))),
        texture=int(rng.integers(1000)),
        exposure=float(np.exp(rng.normal(0.0, 0.10))),
        distractors=bool(rng.random() < 0.8),
    )


def _jitter3(rng: np.random.Generator, colour: RGB, amount: float) -> RGB:
    values = np.array(colour) * np.exp(rng.normal(0.0, amount) + rng.normal(0.0, amount * 0.25, 3))
    return float(values[0]), float(values[1]), float(values[2])
