"""Lamps: table lamp, floor lamp, desk lamp with an arm, tripod lamp. A desk lamp reaches forward (-y). Metres."""

from __future__ import annotations

import numpy as np

from models.cad.shapes.part import CHROME, TRIM, Assembly, Colour, Model, between, paint, pick, wood
from models.cad.shapes.solid import Solid, bar, curve, cylinder, ellipsoid, hoop, join, revolve, tube

BULB: Colour = (0.95, 0.90, 0.70)


def shade(bottom: float, top: float, z0: float, z1: float, waist: float, wall: float = 0.006) -> Solid:
    """An open shade, a drum or a cone; `waist` draws its middle in or lets it swell."""
    z = np.linspace(z0, z1, 8)
    t = (z - z0) / (z1 - z0)
    radius = bottom + (top - bottom) * t + waist * 4 * t * (1 - t)
    outer = np.stack([radius, z], axis=-1)
    return hoop(np.concatenate([outer, outer[::-1] - np.array([wall, 0.0])]))


def lamp(rng: np.random.Generator) -> Model:
    """A lamp."""
    style = pick(rng, "table lamp", "table lamp", "floor lamp", "desk lamp", "desk lamp", "tripod lamp")
    body: Colour = paint(rng) if rng.random() < 0.7 else CHROME
    metallic = 1.0 if body == CHROME else 0.0
    cloth = paint(rng)
    made = Assembly()
    add = made.add
    words = [style]
    if style == "desk lamp":
        _desk_lamp(made, rng, body, metallic, cloth)
        return Model(parts=tuple(made.parts), keywords=tuple(words))
    wide = between(rng, 0.13, 0.20)
    narrow = wide * between(rng, 0.45, 1.0)
    deep = between(rng, 0.18, 0.26)
    if style == "table lamp":
        stem = between(rng, 0.24, 0.36)
        foot = pick(rng, "vase foot", "ball foot", "slim foot", "stacked foot")
        words.append(foot)
        if foot == "vase foot":
            points = [
                (0.06, 0),
                (0.065, 0.01),
                (0.05, 0.03),
                (0.10, 0.35 * stem),
                (0.085, 0.6 * stem),
                (0.03, 0.9 * stem),
                (0.025, stem),
            ]
            add("base", revolve(curve(points, 24), 32), body, metallic, 0.3)
        elif foot == "ball foot":
            r = 0.38 * stem
            ball = ellipsoid(r, r, r, 28, 13).moved(z=0.02 + r)
            add("base", join(cylinder(0.07, 0, 0.03, 32, bevel=0.006), ball, cylinder(0.012, r, stem, 16)), body, metallic, 0.3)
        elif foot == "slim foot":
            add("base", join(cylinder(0.085, 0, 0.022, 32, bevel=0.006), cylinder(0.011, 0.01, stem, 16)), body, metallic, 0.3)
        else:
            r = stem / 6.5
            balls = [ellipsoid(r * 1.15, r * 1.15, r, 24, 9).moved(z=0.02 + r * (1 + 1.9 * k)) for k in range(3)]
            add(
                "base",
                join(cylinder(0.075, 0, 0.025, 32, bevel=0.006), *balls, cylinder(0.012, r, stem, 16)),
                body,
                metallic,
                0.3,
            )
    elif style == "floor lamp":
        stem = between(rng, 1.15, 1.4)
        wide, narrow, deep = wide * 1.25, narrow * 1.25, deep * 1.15
        foot_plate = cylinder(between(rng, 0.13, 0.17), 0, 0.025, 36, bevel=0.006)
        add("base", join(foot_plate, cylinder(0.014, 0.01, stem, 16)), body, metallic, 0.3)
        if rng.random() < 0.4:
            tray = cylinder(0.16, 0.45 * stem, 0.45 * stem + 0.02, 36, bevel=0.004)
            add("tray", tray, wood(rng))
            words.append("with tray")
    else:
        stem = between(rng, 0.75, 1.05)
        wide, narrow, deep = wide * 1.3, narrow * 1.3, deep * 1.1
        legs = []
        for k in range(3):
            turn = 2 * np.pi * (k + 0.25) / 3
            foot_at = np.array([0.34 * np.cos(turn), 0.34 * np.sin(turn), 0.0])
            legs.append(bar(foot_at, (0.02 * np.cos(turn), 0.02 * np.sin(turn), stem), 0.012, 0.016, 14))
        add("legs", join(*legs), wood(rng))
        add("hub", cylinder(0.045, stem - 0.03, stem + 0.02, 24, bevel=0.006), body, metallic, 0.3)
    z0 = stem + 0.005
    waist = between(rng, -0.02, 0.02)
    add("shade", shade(wide, narrow, z0, z0 + deep, waist), cloth, roughness=0.9)
    add(
        "bulb",
        join(ellipsoid(0.03, 0.03, 0.04, 20, 9).moved(z=z0 + 0.42 * deep), cylinder(0.014, stem - 0.02, z0 + 0.30 * deep, 14)),
        BULB,
    )
    z = z0 + 0.85 * deep
    reach = wide + (narrow - wide) * 0.85 + waist * 0.51 - 0.003
    spokes = [bar((0, 0, z0 + 0.30 * deep), (0, 0, z + 0.002), 0.004, sections=8)]
    for turn in (0.0, 2 * np.pi / 3, 4 * np.pi / 3):
        spokes.append(
            bar(
                (0.002 * np.cos(turn), 0.002 * np.sin(turn), z),
                (reach * np.cos(turn), reach * np.sin(turn), z),
                0.003,
                sections=6,
            )
        )
    add("spider", join(*spokes), CHROME, 1.0)
    # The shade's thin spokes aside, all but a tripod's legs is turned.
    symmetry = 3 if style == "tripod lamp" else 0
    return Model(parts=tuple(made.parts), keywords=tuple(words), symmetry=symmetry)


def _desk_lamp(made: Assembly, rng: np.random.Generator, body: Colour, metallic: float, second: Colour) -> None:
    """A weighted foot, two arms with a joint, and a cone that throws its light forward and down."""
    add = made.add
    add("base", cylinder(between(rng, 0.085, 0.11), 0, between(rng, 0.02, 0.035), 36, bevel=0.006), body, metallic, 0.3)
    lower, upper = between(rng, 0.24, 0.32), between(rng, 0.20, 0.28)
    back, out = np.radians(between(rng, 10, 30)), np.radians(between(rng, 35, 65))
    knee = np.array([0.0, lower * np.sin(back), 0.03 + lower * np.cos(back)])
    wrist = knee + np.array([0.0, -upper * np.sin(out), upper * np.cos(out)])
    foot = np.array([0.0, 0.0, 0.02])
    if rng.random() < 0.35:
        neck = curve([foot, (0, 0.02, 0.16), knee + np.array([0, -0.03, 0]), wrist], 24)
        add("arm", tube(neck, 0.011, 14), body, metallic, 0.3)
    else:
        pair = [
            bar(a + np.array([s, 0, 0]), b + np.array([s, 0, 0]), 0.006, sections=10)
            for a, b, apart in ((foot, knee, 0.013), (knee, wrist, 0.017))
            for s in (-apart, apart)
        ]
        add("arm", join(*pair), body, metallic, 0.3)
        joints = [cylinder(0.019, -0.024, 0.024, 20, bevel=0.004).turned("y", 90).moved(*at) for at in (knee, wrist)]
        add("joints", join(*joints), TRIM)
    wide, deep = between(rng, 0.075, 0.10), between(rng, 0.12, 0.16)
    outer = np.array(
        [
            (wide, 0.0),
            (0.92 * wide, 0.25 * deep),
            (0.62 * wide, 0.62 * deep),
            (0.32 * wide, 0.85 * deep),
            (0.28 * wide, deep),
            (0.24 * wide, 1.06 * deep),
        ]
    )
    inner = np.array([(0.2 * wide, 0.80 * deep), (0.56 * wide, 0.60 * deep), (0.87 * wide, 0.23 * deep), (0.95 * wide, 0.0)])
    tilt = -between(rng, 20, 45)
    head = revolve(np.concatenate([inner[:1], inner[1:], outer]), 32)
    bulb = ellipsoid(0.45 * wide, 0.45 * wide, 0.40 * deep, 20, 9).moved(z=0.38 * deep)
    for name, solid, tone in (("head", head, second), ("bulb", bulb, BULB)):
        # The cone hangs from its upper end at the wrist, its mouth tipped forward.
        add(name, solid.moved(z=-0.95 * deep).turned("x", tilt).moved(*wrist), tone, roughness=0.35)
