"""Cups and teapots.

A cup's handle is at the object's own right (-x), so that the front view shows it at the picture's left. A teapot's spout is its
front (-y) and its handle the rear (+y).
"""

from __future__ import annotations

import numpy as np

from models.cad.shapes.part import CHROME, TRIM, Colour, Model, Part, between, paint, pick, wood
from models.cad.shapes.solid import Points, Solid, curve, cylinder, ellipsoid, hoop, join, revolve, tube


def hollow(outer: Points, wall: float, floor: float) -> Solid:
    """A vessel turned from its outer profile, (radius, z) from the foot up, with a rounded rim."""
    base, top = outer[0, 1], outer[-1, 1]
    inner = outer[outer[:, 1] > base + floor].copy()
    inner[:, 0] -= wall
    rim = np.array([[outer[-1, 0] - 0.25 * wall, top + 0.35 * wall], [outer[-1, 0] - 0.75 * wall, top + 0.35 * wall]])
    bottom = np.array([[0.96 * inner[0, 0], base + floor]])
    return revolve(np.concatenate([outer, rim, inner[::-1], bottom]), 40)


def radius_at(profile: Points, z: float) -> float:
    return float(np.interp(z, profile[:, 1], profile[:, 0]))


def cup(rng: np.random.Generator) -> Model:
    """A cup: mug, tea cup on a saucer, espresso cup, beer mug or travel cup."""
    style = pick(rng, "mug", "mug", "tea cup", "espresso cup", "beer mug", "travel cup")
    colour, second = paint(rng), paint(rng)
    if style == "tea cup":
        height = between(rng, 1.1, 1.35)
        points = [
            (0.42, 0),
            (0.46, 0.1),
            (0.42, 0.13),
            (0.72, 0.35),
            (0.90, 0.65 * height),
            (0.98, 0.88 * height),
            (1.06, height),
        ]
    elif style == "espresso cup":
        height = between(rng, 1.25, 1.5)
        points = [(0.60, 0), (0.66, 0.05), (0.80, 0.3), (0.93, 0.6 * height), (1.0, height)]
    elif style == "travel cup":
        height = between(rng, 2.5, 2.9)
        points = [(0.62, 0), (0.68, 0.06), (0.75, 0.35 * height), (0.88, 0.7 * height), (1.0, height)]
    elif style == "beer mug":
        height = between(rng, 2.3, 2.8)
        points = [(0.95, 0), (1.06, 0.08), (1.06, 0.22), (0.98, 0.30), (0.98, 0.9 * height), (1.0, height)]
    else:
        height = between(rng, 1.9, 2.6)
        taper, belly = between(rng, 0.78, 1.0), between(rng, -0.05, 0.10)
        points = [
            (taper - 0.07, 0),
            (taper, 0.07),
            (0.5 + taper / 2 + belly, 0.5 * height),
            (1.0 + belly / 2, 0.9 * height),
            (1.0, height),
        ]
    profile = curve(points, 18)
    wall = between(rng, 0.07, 0.11)
    body = hollow(profile, wall, 0.14)
    parts = [Part(name="body", solid=body, colour=colour, roughness=0.3)]
    words = [style]

    # The handle: an ear, an angular loop or a D, from under the rim to the lower wall.
    high, low = (0.86, 0.30) if style != "tea cup" else (0.90, 0.42)
    if style == "beer mug":
        high, low = 0.88, 0.16
    reach = between(rng, 0.50, 0.75) * (1.0 if height > 1.6 else 0.8)
    top, bottom = high * height, low * height
    at_top, at_bottom = radius_at(profile, top) - 0.04, radius_at(profile, bottom) - 0.04
    shape = pick(rng, "ear", "loop", "square")
    middle = (top + bottom) / 2
    if shape == "ear":
        path = [
            (at_top, top),
            (at_top + 0.75 * reach, top + 0.04),
            (at_top + reach, middle + 0.2 * (top - bottom)),
            (at_bottom + 0.7 * reach, middle - 0.25 * (top - bottom)),
            (at_bottom, bottom),
        ]
    elif shape == "loop":
        path = [
            (at_top, top),
            (at_top + 0.62 * reach, top - 0.03),
            (at_top + 0.95 * reach, middle),
            (at_bottom + 0.62 * reach, bottom + 0.03),
            (at_bottom, bottom),
        ]
    else:
        path = [
            (at_top, top),
            (at_top + 0.78 * reach, top),
            (at_top + 0.92 * reach, top - 0.12),
            (at_top + 0.92 * reach, bottom + 0.12),
            (at_top + 0.78 * reach, bottom),
            (at_bottom, bottom),
        ]
    line = curve(path, 20)
    handle_path = np.stack([-line[:, 0], np.zeros(len(line)), line[:, 1]], axis=-1)
    thick = between(rng, 0.10, 0.14) * (1.15 if style == "beer mug" else 1.0)
    flatten = between(rng, 1.0, 1.5)
    handle_colour = second if rng.random() < 0.25 else colour
    parts.append(
        Part(
            name="handle",
            solid=tube(handle_path, thick, 12, flatten=1.0).scaled(1, flatten, 1),
            colour=handle_colour,
            roughness=0.3,
        )
    )

    if style == "tea cup" or (style == "espresso cup" and rng.random() < 0.5):
        wide = between(rng, 1.55, 1.85)
        plate = revolve(
            [
                (0.5, -0.10),
                (0.55, -0.12),
                (0.62, -0.10),
                (0.95, -0.05),
                (wide - 0.05, 0.14),
                (wide, 0.19),
                (wide - 0.04, 0.21),
                (0.98, 0.02),
                (0.60, -0.01),
            ],
            40,
        )
        parts.append(Part(name="saucer", solid=plate, colour=colour, roughness=0.3))
        words.append("cup and saucer")
    if (rng.random() < 0.55 or style == "travel cup") and second != colour:
        low_band, high_band = (0.35, 0.65) if style == "travel cup" else ((0.40, 0.62) if rng.random() < 0.5 else (0.90, 0.97))
        z = np.linspace(low_band * height, high_band * height, 6)
        ring = np.array([[radius_at(profile, v), v] for v in z])
        band = hoop(np.concatenate([ring + np.array([0.012, 0]), ring[::-1] - np.array([0.03, 0])]))
        parts.append(Part(name="band", solid=band, colour=second, roughness=0.4))
        words.append("banded")
    if rng.random() < 0.5:
        level = 0.80 * height
        drink = cylinder(radius_at(profile, level - 0.04) - wall + 0.012, level - 0.04, level, 40)
        parts.append(Part(name="drink", solid=drink, colour=(0.06, 0.025, 0.01), roughness=0.1))
    return Model(parts=tuple(parts), keywords=tuple(words))


def teapot(rng: np.random.Generator) -> Model:
    """A teapot: round, squat, tall, conical or drum-shaped, handle behind or over the lid."""
    style = pick(rng, "round", "squat", "tall", "pear-shaped", "drum-shaped")
    colour, second = paint(rng), paint(rng)
    metal = rng.random() < 0.2
    surface = {"metallic": 1.0, "roughness": 0.3} if metal else {"metallic": 0.0, "roughness": 0.3}
    if metal:
        colour = CHROME
    profiles = {
        "round": ([(0.55, 0), (0.60, 0.06), (0.82, 0.25), (1.0, 0.70), (0.93, 1.10), (0.62, 1.42), (0.52, 1.48)]),
        "squat": ([(0.60, 0), (0.66, 0.05), (0.92, 0.20), (1.08, 0.50), (0.98, 0.82), (0.62, 1.04), (0.52, 1.08)]),
        "tall": ([(0.62, 0), (0.67, 0.06), (0.74, 0.5), (0.74, 1.1), (0.64, 1.7), (0.50, 2.0), (0.45, 2.05)]),
        "pear-shaped": (
            [(0.62, 0), (0.68, 0.05), (0.9, 0.22), (1.0, 0.50), (0.9, 0.82), (0.66, 1.24), (0.5, 1.55), (0.47, 1.62)]
        ),
        "drum-shaped": ([(0.86, 0), (0.93, 0.06), (0.95, 0.5), (0.95, 1.0), (0.90, 1.15), (0.60, 1.25), (0.52, 1.28)]),
    }
    profile = curve(profiles[style], 24)
    profile[:, 1] *= between(rng, 0.92, 1.10)
    height = profile[-1, 1]
    mouth = profile[-1, 0]
    parts = [Part(name="body", solid=revolve(np.concatenate([profile, [[mouth - 0.05, height]]]), 40), colour=colour, **surface)]

    # Lid and knob.
    dome = between(rng, 0.10, 0.26)
    lid = revolve(
        [
            (mouth + 0.05, height - 0.01),
            (mouth + 0.06, height + 0.03),
            (mouth, height + 0.06),
            (0.75 * mouth, height + 0.05 + 0.6 * dome),
            (0.4 * mouth, height + 0.05 + 0.93 * dome),
            (0.05, height + 0.05 + dome),
        ],
        40,
    )
    lid_colour = second if rng.random() < 0.3 and not metal else colour
    parts.append(Part(name="lid", solid=lid, colour=lid_colour, **surface))
    top = height + 0.05 + dome
    knob = join(
        cylinder(0.06, top - 0.08, top + 0.08, 16), ellipsoid(0.12, 0.12, between(rng, 0.08, 0.14), 20).moved(z=top + 0.13)
    )
    knob_colour: Colour = second if rng.random() < 0.6 else (TRIM if metal else colour)
    parts.append(Part(name="knob", solid=knob, colour=knob_colour, roughness=0.4))

    # Spout: from the lower belly forward and up to about the mouth's height.
    start = between(rng, 0.28, 0.42) * height
    end = between(rng, 0.88, 1.02) * height
    root = radius_at(profile, start) - 0.15
    reach = between(rng, 0.75, 1.0)
    if rng.random() < 0.6:
        path = [
            (root, start),
            (root + 0.45 * reach, start + 0.10 * (end - start)),
            (root + 0.70 * reach, start + 0.55 * (end - start)),
            (root + 0.85 * reach, end - 0.08),
            (root + 1.08 * reach, end),
        ]
    else:
        path = [
            (root, start),
            (root + 0.35 * reach, start + 0.33 * (end - start)),
            (root + 0.70 * reach, start + 0.67 * (end - start)),
            (root + 1.05 * reach, end),
        ]
    line = curve(path, 16)
    t = np.linspace(0, 1, 16)
    radii = np.interp(t, [0, 0.25, 0.6, 0.9, 1], [0.32, 0.24, 0.145, 0.11, 0.125])
    spout = tube(np.stack([np.zeros(16), -line[:, 0], line[:, 1]], axis=-1), radii, 16)
    parts.append(Part(name="spout", solid=spout, colour=colour, **surface))
    mouth_path = line[-1] + np.array([[-0.02, -0.01], [0.012, 0.006]])
    hole = tube(np.stack([np.zeros(2), -mouth_path[:, 0], mouth_path[:, 1]], axis=-1), 0.085, 14)
    parts.append(Part(name="spout_mouth", solid=hole, colour=TRIM, roughness=0.9))

    # Handle: an ear behind, or a bail over the lid.
    words = [style + " teapot"]
    grip: Colour = (wood(rng) if metal or rng.random() < 0.2 else colour) if rng.random() < 0.7 else second
    if rng.random() < 0.2 and style != "tall":
        wide = radius_at(profile, 0.86 * height) - 0.03
        angle = np.linspace(0, np.pi, 24)
        rise = height + dome + between(rng, 0.45, 0.65) - 0.86 * height
        bail = np.stack([np.zeros(24), wide * np.cos(angle), 0.86 * height + rise * np.sin(angle) ** 0.8], axis=-1)
        parts.append(Part(name="handle", solid=tube(bail, 0.07, 12), colour=grip, roughness=0.5))
        words.append("bail handle")
    else:
        high, low = 0.84 * height, between(rng, 0.22, 0.38) * height
        a, b = radius_at(profile, high) - 0.05, radius_at(profile, low) - 0.05
        out = max(a, b) + between(rng, 0.45, 0.65)
        ear = curve(
            [
                (a, high),
                (0.55 * a + 0.45 * out, high + 0.16),
                (out, 0.72 * high + 0.28 * low),
                (0.85 * out + 0.15 * b, 0.32 * high + 0.68 * low),
                (b, low),
            ],
            22,
        )
        thick = between(rng, 0.075, 0.10)
        solid = tube(np.stack([np.zeros(22), ear[:, 0], ear[:, 1]], axis=-1), thick, 12).scaled(1.25, 1, 1)
        parts.append(Part(name="handle", solid=solid, colour=grip, roughness=0.5))
    if rng.random() < 0.4 and second != colour:
        z = np.linspace(0.36, 0.62, 7) * height
        ring = np.array([[radius_at(profile, v), v] for v in z])
        band = hoop(np.concatenate([ring + np.array([0.012, 0]), ring[::-1] - np.array([0.04, 0])]))
        parts.append(Part(name="band", solid=band, colour=second))
        words.append("banded")
    return Model(parts=tuple(parts), keywords=tuple(words))
