"""Airplanes: airliner, business jet, light aircraft, turboprop, biplane and fighter. Metres; nose at -y."""

from __future__ import annotations

import numpy as np

from models.cad.shapes.part import CHROME, GLASS, PLATE, TRIM, TYRE, Assembly, Model, between, paint, pick
from models.cad.shapes.solid import Points, Solid, bar, box, cylinder, ellipsoid, join, loft, revolve, shell


def foil(chord: float, thick: float, count: int = 9) -> Points:
    """An airfoil's outline in (along the chord from its leading edge, up), closed, counter-clockwise from the trailing edge."""
    t = 0.5 * (1 - np.cos(np.linspace(0, np.pi, count)))
    half = 5 * thick * (0.2969 * np.sqrt(t) - 0.126 * t - 0.3516 * t**2 + 0.2843 * t**3 - 0.1036 * t**4) + 0.02 * thick
    upper = np.stack([t, half + 0.25 * thick * np.sin(np.pi * t)], axis=-1)
    lower = np.stack([t, -half + 0.25 * thick * np.sin(np.pi * t)], axis=-1)
    return chord * np.concatenate([upper[::-1], lower[1:]])


def wing(
    root: tuple[float, float, float],
    root_chord: float,
    tip: tuple[float, float, float],
    tip_chord: float,
    thick: float = 0.12,
    upright: bool = False,
) -> Solid:
    """A lofted surface between the leading edges `root` and `tip`; `upright` for a fin."""
    rings = []
    a, b = np.array(root), np.array(tip)
    for f in (0.0, 0.35, 0.7, 0.93, 0.985, 1.0):
        shrink = 1.0 if f < 0.95 else (0.90 if f < 0.99 else 0.62)
        chord = (root_chord + (tip_chord - root_chord) * f) * shrink
        outline = foil(chord, thick * (shrink if f < 0.99 else 0.3))
        at = a + (b - a) * f + np.array([0, 0.5 * (1 - shrink) * tip_chord, 0])
        zero = np.zeros(len(outline))
        ring = np.stack([outline[:, 1], outline[:, 0], zero] if upright else [zero, outline[:, 0], outline[:, 1]], axis=-1)
        rings.append(at + ring)
    return loft(rings)


def hull(y: Points, radius: Points, z: Points, wide: float = 1.0, sections: int = 28) -> Solid:
    """A fuselage: circles of `radius` about (0, y, z), stretched sideways by `wide`."""
    a = np.arange(sections) * 2 * np.pi / sections
    rings = np.stack(
        [
            wide * radius[:, None] * np.cos(a),
            np.broadcast_to(y[:, None], (len(y), sections)),
            z[:, None] + radius[:, None] * np.sin(a),
        ],
        axis=-1,
    )
    return loft(rings)


def patch(
    y: Points, radius: Points, z: Points, y0: float, y1: float, a0: float, a1: float, lift: float, wide: float = 1.0, n: int = 4
) -> Solid:
    """A plate on the fuselage between two places and two angles (degrees from +x over +z), on the left flank."""
    ys, angles = np.meshgrid(np.linspace(y0, y1, n), np.radians(np.linspace(a0, a1, n)), indexing="ij")
    r, c = np.interp(ys, y, radius), np.interp(ys, y, z)
    return shell(np.stack([wide * r * np.cos(angles), ys, c + r * np.sin(angles)], axis=-1), lift, 0.05 * float(radius.max()))


def jet(radius: float, length: float) -> tuple[Solid, Solid]:
    """A turbofan's nacelle about the y axis, its intake at y = 0, and its dark inside."""
    outer = [
        (0.84 * radius, 0.10),
        (0.90 * radius, 0.0),
        (0.98 * radius, 0.06 * length),
        (radius, 0.3 * length),
        (0.86 * radius, 0.72 * length),
        (0.60 * radius, length),
    ]
    shape = np.array([(0.83 * radius, 0.22 * length), *outer, (0.50 * radius, length), (0.40 * radius, 0.9 * length)])
    fan = revolve(
        [
            (0.845 * radius, 0.20 * length),
            (0.845 * radius, 0.15 * length),
            (0.25 * radius, 0.14 * length),
            (0.05 * radius, 0.04 * length),
        ],
        24,
    )
    return revolve(shape, 28).turned("x", -90), fan.turned("x", -90)


def propeller(radius: float, blades: int, phase: float) -> tuple[Solid, Solid]:
    """A spinner and its blades, about the y axis, pointing to -y from y = 0."""
    r = 0.16 * radius
    spinner = revolve([(r, 0.02), (r, 0.0), (0.85 * r, -0.6 * r), (0.5 * r, -1.2 * r), (0.08 * r, -1.6 * r)], 20).turned("x", -90)
    one = loft(
        [
            [(-0.05 * radius * k, -0.02, z), (0.0, -0.045, z), (0.05 * radius * k, -0.02, z), (0.0, 0.005, z)]
            for z, k in ((0.05 * radius, 0.7), (0.3 * radius, 1.3), (0.75 * radius, 1.2), (radius, 0.6))
        ]
    )
    return spinner.moved(y=0.0), join(*[one.turned("y", phase + 360 * k / blades) for k in range(blades)])


def airplane(rng: np.random.Generator) -> Model:
    """An airplane."""
    style = pick(rng, "airliner", "airliner", "business jet", "light aircraft", "turboprop", "biplane", "fighter jet")
    colour, second = paint(rng), paint(rng)
    made = Assembly()
    add = made.add
    words = [style]

    big = style in ("airliner", "turboprop", "business jet")
    length = 10.0
    slim = {
        "airliner": between(rng, 0.50, 0.66),
        "business jet": between(rng, 0.48, 0.56),
        "turboprop": between(rng, 0.50, 0.58),
        "light aircraft": between(rng, 0.75, 0.85),
        "biplane": between(rng, 0.72, 0.85),
        "fighter jet": between(rng, 0.48, 0.56),
    }[style]
    u = np.array([0, 0.004, 0.015, 0.035, 0.07, 0.11, 0.16, 0.25, 0.4, 0.55, 0.66, 0.75, 0.84, 0.92, 0.97, 1.0])
    if big:
        shape = np.interp(
            u,
            [0, 0.004, 0.015, 0.035, 0.07, 0.11, 0.16, 0.66, 0.84, 0.97, 1.0],
            [0.02, 0.20, 0.42, 0.62, 0.82, 0.94, 1.0, 1.0, 0.64, 0.24, 0.10],
        )
        z = slim * np.interp(u, [0, 0.16, 0.62, 1.0], [-0.30, 0.0, 0.0, 0.62])
    elif style == "fighter jet":
        shape = np.interp(u, [0, 0.015, 0.07, 0.16, 0.3, 0.55, 0.92, 1.0], [0.02, 0.14, 0.36, 0.66, 0.92, 1.0, 0.86, 0.62])
        z = slim * np.interp(u, [0, 0.3, 1.0], [-0.12, 0.0, 0.08])
    else:
        shape = np.interp(
            u,
            [0, 0.004, 0.015, 0.035, 0.11, 0.25, 0.40, 0.55, 0.75, 1.0],
            [0.40, 0.58, 0.66, 0.74, 0.86, 1.0, 1.0, 0.80, 0.46, 0.16],
        )
        z = slim * np.interp(u, [0, 0.25, 0.45, 1.0], [-0.10, 0.0, 0.0, 0.35])
    y, r = (u - 0.5) * length, slim * shape
    fuselage = hull(y, r, z)
    add("fuselage", fuselage, colour)

    def at(fraction: float) -> float:
        return (fraction - 0.5) * length

    span = {
        "airliner": between(rng, 4.3, 5.2),
        "business jet": between(rng, 3.9, 4.6),
        "turboprop": between(rng, 4.8, 5.6),
        "light aircraft": between(rng, 5.6, 6.6),
        "biplane": between(rng, 4.8, 5.6),
        "fighter jet": between(rng, 2.9, 3.5),
    }[style]
    gear_z = -slim - between(rng, 0.30, 0.42)
    tail_t = style == "business jet" or (style == "turboprop" and rng.random() < 0.7)
    wing_colour = second if rng.random() < 0.3 else colour

    if style in ("airliner", "business jet"):
        chord, sweep = between(rng, 1.9, 2.4), between(rng, 1.9, 2.7)
        lead = at(between(rng, 0.34, 0.38)) if style == "airliner" else at(between(rng, 0.40, 0.45))
        wing_z = -0.55 * slim
        rise = between(rng, 0.35, 0.6)
        tip = (span, lead + sweep, wing_z + rise)
        one = wing((0.2 * slim, lead, wing_z), chord, tip, 0.28 * chord, 0.11)
        add("wings", one.both_sides(), wing_colour)
        if rng.random() < 0.6:
            let = wing(tip, 0.27 * chord, (span + 0.18, tip[1] + 0.4, tip[2] + 0.55), 0.12 * chord, 0.08)
            vertical = let.moved(-0.03)
            add("winglets", vertical.both_sides(), second)
            words.append("winglets")
        if style == "airliner":
            four = rng.random() < 0.25
            size = between(rng, 0.30, 0.38) * (0.85 if four else 1.0)
            places = [0.33, 0.58] if four else [0.34]
            shells, fans, pylons = [], [], []
            for f in places:
                x = span * f
                yl = lead + sweep * f
                zl = wing_z + rise * f - size - 0.10
                nacelle, fan = jet(size, 3.0 * size)
                shells.append(nacelle.moved(x, yl - 1.6 * size, zl))
                fans.append(fan.moved(x, yl - 1.6 * size, zl))
                pylons.append(box(0.10, 1.3, 0.30, 0.03).moved(x, yl + 0.1, zl + size + 0.02))
            add("engines", join(*[s.both_sides() for s in shells]), second if rng.random() < 0.5 else PLATE)
            add("fans", join(*[s.both_sides() for s in fans]), TRIM)
            add("pylons", join(*[s.both_sides() for s in pylons]), wing_colour)
            words.append("four engines" if four else "twin-engined")
        else:
            size = between(rng, 0.25, 0.30)
            nacelle, fan = jet(size, 3.4 * size)
            where = (slim + size + 0.04, at(0.68), 0.35 * slim)
            add("engines", nacelle.moved(*where).both_sides(), second)
            add("fans", fan.moved(*where).both_sides(), TRIM)
            add("pylons", box(0.4, 0.7, 0.10, 0.03).moved(slim + 0.02, at(0.73), 0.35 * slim).both_sides(), colour)
    elif style in ("light aircraft", "turboprop"):
        high = style == "turboprop" or rng.random() < 0.65
        chord = between(rng, 1.35, 1.6)
        lead = at(0.30 if style == "light aircraft" else 0.38)
        wing_z = 0.92 * slim if high else -0.62 * slim
        rise = 0.10 if high else 0.45
        taper = between(rng, 0.55, 0.95)
        one = wing((-0.02, lead, wing_z), chord, (span, lead + 0.25 * chord * (1 - taper), wing_z + rise), taper * chord, 0.13)
        add("wings", one.both_sides(), wing_colour)
        words.append("high wing" if high else "low wing")
        if style == "light aircraft" and high:
            add(
                "struts",
                bar(
                    (0.75 * slim, lead + 0.45, -0.55 * slim), (0.50 * span, lead + 0.45, wing_z + 0.03), 0.05, sections=8
                ).both_sides(),
                colour,
            )
        if style == "turboprop":
            x = 0.32 * span
            pod = (
                revolve([(0.06, -1.1), (0.20, -1.05), (0.27, -0.6), (0.27, 0.4), (0.10, 1.4)], 24)
                .turned("x", -90)
                .moved(x, lead + 0.15, wing_z - 0.05)
            )
            spinner, blades = propeller(0.95, int(rng.integers(4, 7)), between(rng, 0, 60))
            add("engines", pod.both_sides(), second)
            add("spinners", spinner.moved(x, lead - 0.93, wing_z - 0.05).both_sides(), CHROME, 0.6)
            add("propellers", blades.moved(x, lead - 0.95, wing_z - 0.05).both_sides(), TRIM)
    elif style == "biplane":
        chord = between(rng, 1.35, 1.6)
        lead = at(0.20)
        low_z, high_z = -0.75 * slim, slim + between(rng, 0.75, 1.0)
        for name, zz, shift, s in (("lower_wings", low_z, 0.35, 0.92 * span), ("upper_wings", high_z, 0.0, span)):
            one = wing((-0.02, lead + shift, zz), chord, (s, lead + shift, zz + 0.12), 0.92 * chord, 0.09)
            add(name, one.both_sides(), wing_colour)
        struts = []
        for f in (0.12, 0.72):
            for k in (0.25, 0.8):
                bottom = (
                    0.75 * f / 0.72 * span if f > 0.5 else 0.5 * slim,
                    lead + 0.35 + k * chord,
                    low_z + 0.05 if f > 0.5 else 0.7 * slim,
                )
                struts.append(bar(bottom, (f * span, lead + k * chord, high_z + 0.03), 0.045, sections=8))
        add("struts", join(*struts).both_sides(), TRIM)
    else:
        delta = rng.random() < 0.5
        chord = between(rng, 4.2, 4.8) if delta else between(rng, 2.8, 3.2)
        lead = at(0.40 if delta else 0.42)
        add(
            "wings",
            wing(
                (0.2, lead, 0.0), chord, (span, lead + (chord * 0.80 if delta else 1.7), -0.08), 0.16 * chord, 0.045
            ).both_sides(),
            wing_colour,
        )
        words.append("delta wing" if delta else "swept wing")
        inlet = box(0.42, 2.8, 0.55, 0.10).moved(slim * 0.95, at(0.48), -0.06)
        add("intakes", inlet.both_sides(), colour)
        add("intake_mouths", box(0.34, 0.06, 0.46, 0.02).moved(slim * 0.95, at(0.48) - 1.41, -0.06).both_sides(), TRIM)
        add(
            "nozzle",
            revolve([(0.55 * slim, 0.0), (0.60 * slim, 0.1), (0.48 * slim, 0.6), (0.42 * slim, 0.6), (0.45 * slim, 0.2)], 24)
            .turned("x", -90)
            .moved(0, at(0.97), z[-1]),
            TRIM,
            0.6,
        )
        if rng.random() < 0.6:
            missile = revolve([(0.02, -1.0), (0.08, -0.8), (0.08, 0.9), (0.05, 1.0)], 14).turned("x", -90)
            add("missiles", missile.moved(span * 1.02, lead + (chord * 0.8 if delta else 1.9) + 0.4, -0.08).both_sides(), PLATE)

    # Tail.
    tail_z = float(np.interp(at(0.92), y, z))
    fin_h = between(rng, 1.5, 1.9) if big else between(rng, 1.1, 1.5)
    fin_chord = between(rng, 1.5, 1.8) if big or style == "fighter jet" else between(rng, 1.0, 1.3)
    fin_lead = at(0.80) if big else (at(0.78) if style == "fighter jet" else at(0.86))
    fin_sweep = 1.15 if big or style == "fighter jet" else 0.55
    twin = style == "fighter jet" and rng.random() < 0.5
    fin = wing(
        (0, fin_lead, tail_z + 0.02),
        fin_chord,
        (0, fin_lead + fin_sweep, tail_z + slim * 0.5 + fin_h),
        0.45 * fin_chord,
        0.10,
        upright=True,
    )
    if twin:
        words.append("twin fins")
        add("fins", fin.turned("y", 14).moved(0.55 * slim, 0, 0).both_sides(), second)
    else:
        add("fin", fin, second)
    top = tail_z + slim * 0.5 + fin_h if tail_t else tail_z + 0.05
    half_tail = between(rng, 1.6, 2.0) if big else between(rng, 1.5, 1.9)
    lead_t = fin_lead + (fin_sweep - 0.05 if tail_t else (0.35 if style != "fighter jet" else 0.6))
    chord_t = 0.72 * fin_chord if big else 0.85 * fin_chord
    sweep_t = 0.75 if big or style == "fighter jet" else 0.15
    add(
        "tailplane",
        wing(
            (-0.02, lead_t, top - (0.06 if tail_t else 0)), chord_t, (half_tail, lead_t + sweep_t, top), 0.5 * chord_t, 0.09
        ).both_sides(),
        wing_colour,
    )
    if tail_t:
        words.append("T-tail")

    # Windows.
    if big:
        n = {"airliner": 26, "turboprop": 15, "business jet": 7}[style]
        f0, f1 = (0.17, 0.78) if style != "business jet" else (0.22, 0.55)
        holes = []
        for f in np.linspace(f0, f1, n):
            half_w = 0.05 if style == "airliner" else 0.08
            holes.append(patch(y, r, z, at(f) - half_w, at(f) + half_w, 12, 25 if style != "business jet" else 28, 0.012, n=2))
        add("windows", join(*holes).both_sides(), GLASS, roughness=0.1)
        add(
            "cockpit",
            join(
                patch(y, r, z, at(0.040), at(0.075), 38, 62, 0.015),
                patch(y, r, z, at(0.050), at(0.098), 16, 36, 0.015),
                patch(y, r, z, at(0.036), at(0.068), 65, 87, 0.015),
            ).both_sides(),
            GLASS,
            roughness=0.08,
        )
        doors = [
            patch(y, r, z, at(f) - 0.11, at(f) + 0.11, -12, 40, 0.01)
            for f in ((0.135, 0.80) if style != "business jet" else (0.155,))
        ]
        add("doors", join(*doors).both_sides(), second)
        if rng.random() < 0.6:
            stripe = patch(y, r, z, at(0.12), at(0.88), 1, 9, 0.008, n=14)
            add("stripe", stripe.both_sides(), second)
    elif style == "fighter jet":
        add("canopy", ellipsoid(0.62 * slim, 1.25, 0.62 * slim, 24, 11).moved(0, at(0.27), 0.52 * slim), GLASS, roughness=0.08)
    elif style == "biplane":
        add("cockpit", join(*[box(0.55 * slim, 0.75, 0.20, 0.09).moved(0, at(f), 0.86 * slim) for f in (0.44, 0.56)]), TRIM)
        add(
            "windshields",
            join(*[box(0.5 * slim, 0.05, 0.32, 0.02).turned("x", -25).moved(0, at(f), 1.08 * slim) for f in (0.40, 0.52)]),
            GLASS,
        )
    else:
        cab = loft(
            [
                [(sx * w * slim, at(f), zz * slim) for sx, f in ((-1, fa), (1, fa), (1, fb), (-1, fb))]
                for w, fa, fb, zz in ((0.82, 0.20, 0.54, 0.45), (0.80, 0.22, 0.53, 0.75), (0.62, 0.30, 0.49, 1.28))
            ]
        )
        add("cabin", cab, GLASS, roughness=0.1)
        frame = loft(
            [
                [(sx * w * slim, at(f), zz * slim) for sx, f in ((-1, fa), (1, fa), (1, fb), (-1, fb))]
                for w, fa, fb, zz in ((0.66, 0.29, 0.50, 1.24), (0.66, 0.295, 0.50, 1.32), (0.5, 0.32, 0.48, 1.38))
            ]
        )
        posts = [
            bar((0.80 * slim, at(fa), 0.66 * slim), (0.63 * slim, at(fb), 1.27 * slim), 0.05, sections=8)
            for fa, fb in ((0.215, 0.298), (0.375, 0.39), (0.53, 0.49))
        ]
        add("cabin_frame", join(frame, *[p.both_sides() for p in posts]), colour)
    if style in ("light aircraft", "biplane"):
        spinner, blades = propeller(between(rng, 0.95, 1.15), int(rng.integers(2, 4)), between(rng, 0, 90))
        add("spinner", spinner.moved(0, y[0] - 0.01, z[0]), CHROME, 0.6)
        add("propeller", blades.moved(0, y[0] - 0.03, z[0]), TRIM)
        add(
            "cowling",
            revolve([(0.62 * slim, 0.0), (0.72 * slim, 0.08), (0.80 * slim, 0.7), (0.78 * slim, 0.72)], 28)
            .turned("x", -90)
            .moved(0, y[0] + 0.02, z[0]),
            second,
        )

    # Undercarriage.
    if not (style == "airliner" and rng.random() < 0.3):
        tall = style in ("light aircraft", "biplane")
        size = 0.20 if not tall else 0.26
        main_y = at(0.56) if not tall else at(0.34)
        x = 0.85 * slim if not tall else 1.25 * slim
        ground = gear_z if not tall else -slim - 0.62
        tail_dragger = style == "biplane"
        pieces = [cylinder(size, -0.09, 0.09, 20, bevel=0.03).turned("y", 90).moved(x, main_y, ground + size)]
        legs = [bar((x - 0.05, main_y, ground + size), (0.6 * slim, main_y - 0.1, -0.70 * slim), 0.06, sections=8)]
        nose_f = 0.96 if tail_dragger else 0.11
        nose_z = tail_z - 0.45 if tail_dragger else ground
        small = 0.75 * size
        nose = [cylinder(small, -0.08, 0.08, 20, bevel=0.03).turned("y", 90).moved(0, at(nose_f), nose_z + small)]
        post = bar((0, at(nose_f), nose_z + small), (0, at(nose_f) - 0.05, float(np.interp(at(nose_f), y, z))), 0.055, sections=8)
        add("wheels", join(*[p.both_sides() for p in pieces], *nose), TYRE, roughness=0.9)
        add("gear_legs", join(*[p.both_sides() for p in legs], post), CHROME, 0.6)
    return Model(parts=tuple(made.parts), keywords=tuple(words))
