"""Chairs and tables.

A chair's backrest is at its rear (+y). A table's long side lies along x and it looks the same from front and rear.
"""

from __future__ import annotations

import numpy as np

from models.cad.shapes.part import CHROME, TRIM, Colour, Model, Part, between, paint, pick, wood
from models.cad.shapes.solid import (
    Points,
    Solid,
    bar,
    beam,
    box,
    curve,
    cylinder,
    ellipsoid,
    flat,
    join,
    loft,
    rectangle,
    revolve,
    shell,
    slab,
    tube,
)


def chair(rng: np.random.Generator) -> Model:
    """A chair: kitchen, ladder-back, spindle-back, office, armchair, shell or cantilever chair. Metres."""
    style = pick(
        rng,
        "kitchen chair",
        "ladder-back chair",
        "spindle-back chair",
        "office chair",
        "armchair",
        "shell chair",
        "cantilever chair",
    )
    frame: Colour = wood(rng) if rng.random() < 0.6 else paint(rng)
    cloth = paint(rng)
    w, d = between(rng, 0.40, 0.47), between(rng, 0.40, 0.46)
    seat_z, tall = between(rng, 0.43, 0.48), between(rng, 0.85, 1.02)
    parts: list[Part] = []
    words = [style]

    def add(name: str, solid: Solid, colour: Colour, metallic: float = 0.0, roughness: float = 0.6) -> None:
        parts.append(Part(name=name, solid=solid, colour=colour, metallic=metallic, roughness=roughness))

    lean = between(rng, 0.05, 0.10)
    hx, hy = w / 2, d / 2

    def back(x: float, z: float, y: float = 0.0) -> tuple[float, float, float]:
        """A point of the leaning backrest."""
        return (x, hy - 0.02 + y + lean * (z - seat_z) / (tall - seat_z), z)

    def legs(splay: float, thick: float, round_leg: bool, height: float) -> None:
        for side, sx in (("l", 1), ("r", -1)):
            for end, sy in (("f", -1), ("b", 1)):
                top = np.array([sx * (hx - 0.04), sy * (hy - 0.04), height])
                foot = np.array([sx * (hx - 0.03 + splay), sy * (hy - 0.03 + splay), 0.0])
                solid = (
                    bar(foot, top, 0.6 * thick / 2 + 0.004, thick / 2 + 0.003, 14)
                    if round_leg
                    else beam(foot, top, 0.8 * thick, 0.8 * thick, 1.25)
                )
                add(f"leg_{end}{side}", solid, frame)

    if style in ("kitchen chair", "ladder-back chair", "spindle-back chair"):
        round_leg = style == "spindle-back chair" or rng.random() < 0.4
        legs(0.05 if round_leg else 0.0, between(rng, 0.036, 0.05), round_leg, seat_z - 0.01)
        cushioned = rng.random() < 0.4
        ring = rectangle(hx, hy, between(rng, 0.03, 0.12), 6) * np.array([1.0, 1.0])
        ring[:, 0] *= 1 - 0.10 * (ring[:, 1] + hy) / d
        add("seat", slab(ring, seat_z - 0.035, seat_z, 0.008), frame)
        if cushioned:
            add("cushion", box(0.92 * w * 0.95, 0.92 * d, 0.06, 0.025).moved(z=seat_z + 0.015), cloth, roughness=0.9)
        if not round_leg or style == "ladder-back chair":
            for name, y in (("rail_f", -hy + 0.045), ("rail_b", hy - 0.045)):
                add(name, box(w - 0.08, 0.02, 0.06).moved(y=y, z=seat_z - 0.06), frame)
            add("rail_l", box(0.02, d - 0.08, 0.06).moved(x=hx - 0.045, z=seat_z - 0.06).both_sides(), frame)
        else:
            bars = [
                bar((hx - 0.02, -hy + 0.02, 0.2), (hx - 0.02, hy - 0.02, 0.2), 0.011, sections=10),
                bar((-hx + 0.02, 0, 0.2), (hx - 0.02, 0, 0.2), 0.011, sections=10),
            ]
            add("stretchers", join(bars[0].both_sides(), bars[1]), frame)
        post = between(rng, 0.015, 0.021)
        posts = bar(back(hx - 0.045, seat_z - 0.04), back(hx - 0.035, tall), post, 0.85 * post, 14).both_sides()
        add("posts", posts, frame)
        span = hx - 0.03
        x = np.linspace(-span, span, 9)
        bow = 0.035 * (1 - (x / span) ** 2)

        def rail(z0: float, z1: float, arch: float = 0.0) -> Solid:
            z = np.linspace(z0, z1, 5)
            lift = arch * (1 - (x / span) ** 2)
            grid = np.array([[back(xi, zj + (li if k else 0), bi) for k, zj in enumerate(z)] for xi, bi, li in zip(x, bow, lift)])
            return shell(grid, 0.011, 0.011)

        if style == "kitchen chair" and rng.random() < 0.6:
            add("backrest", rail(seat_z + between(rng, 0.06, 0.20), tall, 0.02), cloth if cushioned else frame)
            words.append("panel back")
        elif style == "spindle-back chair":
            add("backrest", rail(tall - 0.09, tall, 0.03), frame)
            n = int(rng.integers(4, 8))
            spindles = []
            for i in range(n):
                xi = span * (2 * (i + 1) / (n + 1) - 1)
                spindles.append(
                    bar(back(0.9 * xi, seat_z - 0.02), back(xi, tall - 0.05, 0.035 * (1 - (xi / span) ** 2)), 0.009, sections=10)
                )
            add("spindles", join(*spindles), frame)
        elif style == "ladder-back chair":
            n = int(rng.integers(2, 5))
            free = tall - seat_z - 0.1
            for i in range(n):
                z1 = tall - 0.005 - i * free / n
                add(f"slat_{i}", rail(z1 - 0.5 * free / n, z1, 0.015), frame)
        else:
            add("backrest", rail(tall - 0.10, tall, 0.01), frame)
            n = int(rng.integers(3, 6))
            slats = []
            for i in range(n):
                xi = 0.8 * span * (2 * (i + 0.5) / n - 1)
                slats.append(beam(back(xi, seat_z - 0.02), back(xi, tall - 0.06, 0.03), 0.9 * span / n, 0.012))
            add("slats", join(*slats), frame)
            words.append("slatted back")
        if rng.random() < 0.25:
            arms = curve(
                [back(hx - 0.03, seat_z + 0.22), (hx + 0.01, 0.0, seat_z + 0.22), (hx + 0.01, -hy + 0.08, seat_z + 0.21)], 10
            )
            rest = tube(arms, 0.018, 10)
            support = bar((hx + 0.005, -hy + 0.10, seat_z - 0.02), (hx + 0.01, -hy + 0.10, seat_z + 0.21), 0.014, sections=10)
            add("arms", join(rest, support).both_sides(), frame)
            words.append("with arms")
    elif style == "office chair":
        base: Colour = TRIM if rng.random() < 0.6 else CHROME
        arms_n = 5
        for i in range(arms_n):
            a = 2 * np.pi * i / arms_n + np.pi / 2
            tip = np.array([0.30 * np.cos(a), 0.30 * np.sin(a), 0.07])
            add(
                f"star_{i}",
                join(
                    bar((0, 0, 0.12), tip, 0.028, 0.018, 12), ellipsoid(0.032, 0.032, 0.032, 14, 7).moved(tip[0], tip[1], 0.032)
                ),
                base,
                0.3,
            )
        add("column", join(cylinder(0.032, 0.08, 0.28, 20), cylinder(0.02, 0.27, seat_z - 0.03, 20)), base, 0.3)
        add("seat", box(w + 0.04, d + 0.04, 0.09, 0.04, 5).moved(z=seat_z), cloth, roughness=0.9)
        x = np.linspace(-hx * 0.95, hx * 0.95, 9)
        z = np.linspace(seat_z + between(rng, 0.10, 0.18), tall + 0.08, 9)
        half = np.interp(np.linspace(0, 1, 9), [0, 0.15, 0.85, 1], [0.75, 0.95, 0.9, 0.7])
        grid = np.array(
            [
                [
                    back(xi * hj, zj, 0.02 - 0.05 * np.sin(3 * (zj - z[0]) / (z[-1] - z[0])) + 0.07 * (1 - (xi / hx) ** 2))
                    for zj, hj in zip(z, half)
                ]
                for xi in x
            ]
        )
        add("backrest", shell(grid, 0.03, 0.03), cloth, roughness=0.9)
        add(
            "spine",
            tube(
                curve(
                    [(0, 0.05, seat_z - 0.04), (0, hy + 0.06, seat_z - 0.03), (0, hy + 0.13, seat_z + 0.1), back(0, z[4], 0.11)],
                    10,
                ),
                0.022,
                10,
            ),
            base,
            0.3,
        )
        if rng.random() < 0.6:
            arm = join(
                bar((hx + 0.03, 0.02, seat_z), (hx + 0.05, 0.02, seat_z + 0.2), 0.015, sections=10),
                box(0.06, 0.26, 0.03, 0.012).moved(hx + 0.05, -0.02, seat_z + 0.21),
            )
            add("arms", arm.both_sides(), base)
            words.append("with arms")
    elif style == "armchair":
        w, d, seat_z, tall = between(rng, 0.72, 0.88), between(rng, 0.72, 0.85), between(rng, 0.38, 0.44), between(rng, 0.78, 1.0)
        hx, hy = w / 2, d / 2
        arm_z, arm_w = seat_z + between(rng, 0.14, 0.22), between(rng, 0.11, 0.17)
        add("seat_box", box(w - 0.04, d - 0.06, 0.20, 0.02).moved(z=0.20), cloth, roughness=0.9)
        add("cushion", box(w - 2 * arm_w - 0.01, d - 0.14, 0.16, 0.05, 5).moved(y=-0.06, z=seat_z - 0.06), cloth, roughness=0.9)
        arm_solid = box(arm_w, d - 0.02, arm_z - 0.1, between(rng, 0.03, 0.06), 5).moved(
            hx - arm_w / 2, 0, 0.1 + (arm_z - 0.1) / 2
        )
        add("arms", arm_solid.both_sides(), cloth, roughness=0.9)
        rest = (
            box(w - 2 * arm_w + 0.08 if rng.random() < 0.5 else w, 0.20, tall - 0.15, 0.07, 5)
            .turned("x", -8)
            .moved(y=hy - 0.08, z=0.14 + (tall - 0.15) / 2)
        )
        add("backrest", rest, cloth, roughness=0.9)
        for side, sx in (("l", 1), ("r", -1)):
            for end, sy in (("f", -1), ("b", 1)):
                add(f"leg_{end}{side}", cylinder(0.02, 0.0, 0.13, 14, top=0.03).moved(sx * (hx - 0.08), sy * (hy - 0.08)), frame)
        words.append("upholstered")
    else:
        # One bent shell for seat and back, on splayed legs or on a cantilever of pipe.
        t = np.linspace(-1, 1, 11)
        line = curve(
            [
                (-hy - 0.01, seat_z - 0.03),
                (-hy + 0.05, seat_z),
                (0.05, seat_z - 0.02),
                (hy - 0.06, seat_z + 0.02),
                (hy + 0.02, seat_z + 0.14),
                (hy + 0.07, 0.5 * seat_z + 0.5 * tall),
                (hy + 0.12, tall - 0.1),
            ],
            18,
        )
        half = np.interp(np.linspace(0, 1, 18), [0, 0.1, 0.5, 0.7, 0.92, 1], [0.86, 1.0, 1.0, 0.96, 0.85, 0.6]) * (hx + 0.01)
        dish = between(rng, 0.03, 0.07) if style == "shell chair" else 0.01
        forward = np.gradient(line, axis=0)
        forward /= np.linalg.norm(forward, axis=1, keepdims=True)
        up = np.stack([-forward[:, 1], forward[:, 0]], axis=-1)
        grid = np.array(
            [[(ti * h, y + dish * ti**2 * u[0], z + dish * ti**2 * u[1]) for ti in t] for (y, z), h, u in zip(line, half, up)]
        )
        add("seat", shell(grid, 0.012, 0.012), cloth, roughness=0.5)
        if style == "shell chair":
            metal = rng.random() < 0.4
            for side, sx in (("l", 1), ("r", -1)):
                for end, sy in (("f", -1), ("b", 1)):
                    solid = bar((sx * (hx + 0.03), sy * (hy + 0.02), 0), (sx * 0.13, sy * 0.12, seat_z - 0.01), 0.012, 0.017, 12)
                    add(f"leg_{end}{side}", solid, CHROME if metal else frame, float(metal))
            add("mount", box(0.30, 0.28, 0.02, 0.008).moved(z=seat_z - 0.03), TRIM)
        else:
            r = 0.08
            run = curve(
                [
                    (hx - 0.03, hy - 0.04, seat_z),
                    (hx - 0.01, 0, seat_z - 0.03),
                    (hx, -hy + r, seat_z - 0.03),
                    (hx, -hy, seat_z - 0.03 - r),
                    (hx, -hy, 0.02 + r),
                    (hx, -hy + r, 0.02),
                    (hx, 0, 0.02),
                    (hx, hy + 0.06, 0.02),
                ],
                30,
            )
            rear = bar((-hx, hy + 0.05, 0.02), (hx, hy + 0.05, 0.02), 0.014, sections=10)
            behind = line[6:16]
            wide = np.minimum(half[6:16] - 0.02, hx - 0.02)
            stay = tube(np.stack([wide, behind[:, 0] + 0.012, behind[:, 1] - 0.012], axis=-1), 0.013, 10)
            add("frame", join(tube(run, 0.014, 10).both_sides(), rear, stay.both_sides()), CHROME, 1.0, 0.3)
    return Model(parts=tuple(parts), keywords=tuple(words))


def table(rng: np.random.Generator) -> Model:
    """A table: dining, round, oval, coffee, pedestal, trestle or side table. Metres; the long side along x."""
    style = pick(
        rng,
        "dining table",
        "dining table",
        "round table",
        "oval table",
        "coffee table",
        "trestle table",
        "pedestal table",
        "side table",
    )
    top_colour: Colour = wood(rng) if rng.random() < 0.6 else paint(rng)
    leg_colour: Colour = top_colour if rng.random() < 0.5 else (wood(rng) if rng.random() < 0.5 else paint(rng))
    height = between(rng, 0.70, 0.78)
    w, d = between(rng, 1.3, 1.9), between(rng, 0.75, 0.95)
    if style == "coffee table":
        height, w, d = between(rng, 0.36, 0.46), between(rng, 0.9, 1.3), between(rng, 0.5, 0.7)
    elif style == "side table":
        height = between(rng, 0.50, 0.62)
        w = d = between(rng, 0.40, 0.55)
    elif style in ("round table", "pedestal table"):
        w = d = between(rng, 0.85, 1.25)
    symmetry = 4 if w == d else 2
    thick = between(rng, 0.03, 0.06) * (0.6 if style == "side table" else 1.0)
    hx, hy = w / 2, d / 2
    ring: Points
    if style in ("round table", "oval table", "pedestal table"):
        a = np.arange(48) * 2 * np.pi / 48
        ring = np.stack([hx * np.cos(a), hy * np.sin(a)], axis=-1)
        inset = 0.68
    else:
        ring = rectangle(hx, hy, between(rng, 0.01, 0.08), 5)
        inset = 1.0
    parts = [Part(name="top", solid=slab(ring, height - thick, height, 0.2 * thick), colour=top_colour, roughness=0.4)]
    words = [style]

    def add(name: str, solid: Solid) -> None:
        parts.append(Part(name=name, solid=solid, colour=leg_colour, roughness=0.5))

    under = height - thick + 0.002
    if style == "pedestal table":
        profile = curve([(0.06, 0.10), (0.10, 0.16), (0.06, 0.30), (0.075, 0.45), (0.05, under - 0.08), (0.14, under)], 18)
        add("column", revolve(profile, 28))
        n = int(rng.integers(3, 5)) if rng.random() < 0.6 else 0
        symmetry = n
        if n:
            feet = []
            for i in range(n):
                turn = 2 * np.pi * (i + 0.5) / n
                line = curve([(0.03, 0.20), (0.15, 0.17), (0.62 * hx, 0.025)], 8)
                feet.append(
                    tube(
                        np.stack([line[:, 0] * np.cos(turn), line[:, 0] * np.sin(turn), line[:, 1]], axis=-1),
                        np.linspace(0.04, 0.025, 8),
                        10,
                    )
                )
            add("feet", join(*feet))
        else:
            add("feet", revolve([(0.60 * hx, 0.0), (0.60 * hx, 0.025), (0.25 * hx, 0.06), (0.055, 0.12)], 36))
            words.append("disc foot")
    elif style == "trestle table":
        x = hx - 0.22 * w
        upright = loft(
            [
                flat(rectangle(0.04, 0.30 * d, 0.01, 3), 0.06),
                flat(rectangle(0.03, 0.16 * d, 0.01, 3), under / 2),
                flat(rectangle(0.04, 0.30 * d, 0.01, 3), under - 0.05),
            ]
        )
        end = join(upright, box(0.10, 0.86 * d, 0.07, 0.02).moved(z=0.035), box(0.09, 0.86 * d, 0.06, 0.02).moved(z=under - 0.03))
        add("trestles", join(end.moved(x=x), end.moved(x=-x)))
        add("stretcher", box(2 * x, 0.05, 0.11, 0.01).moved(z=0.45 * under))
    else:
        leg = pick(rng, "square legs", "round legs", "splayed legs", "turned legs")
        words.append(leg)
        size = between(rng, 0.045, 0.09) * (0.7 if style == "side table" else 1.0)
        margin = size / 2 + between(rng, 0.01, 0.06)
        lx, ly = inset * (hx - margin), inset * (hy - margin)
        for side, sx in (("l", 1), ("r", -1)):
            for face, sy in (("f", -1), ("b", 1)):
                at, rise = np.array([sx * lx, sy * ly, 0.0]), np.array([0.0, 0.0, under])
                if leg == "square legs":
                    solid = beam(at, at + rise, size, size)
                elif leg == "round legs":
                    solid = bar(at, at + rise, 0.4 * size, 0.5 * size, 18)
                elif leg == "splayed legs":
                    solid = bar(at, at * 0.82 + rise, 0.3 * size, 0.55 * size, 16)
                else:
                    r = size / 2
                    profile = curve(
                        [
                            (0.5 * r, 0),
                            (0.6 * r, 0.08 * under),
                            (1.1 * r, 0.2 * under),
                            (0.55 * r, 0.45 * under),
                            (1.05 * r, 0.62 * under),
                            (0.7 * r, 0.68 * under),
                            (1.2 * r, 0.76 * under),
                            (1.2 * r, under),
                        ],
                        18,
                    )
                    solid = revolve(profile, 16).moved(at[0], at[1])
                add(f"leg_{face}{side}", solid)
        if leg != "splayed legs" or rng.random() < 0.4:
            k = 0.82 if leg == "splayed legs" else 1.0
            deep = between(rng, 0.06, 0.12)
            rails = [box(2 * k * lx, 0.022, deep).moved(y=s * k * ly, z=under - deep / 2) for s in (-1, 1)]
            rails += [box(0.022, 2 * k * ly, deep).moved(x=s * k * lx, z=under - deep / 2) for s in (-1, 1)]
            add("apron", join(*rails))
        if style in ("coffee table", "side table") and rng.random() < 0.5 and leg != "splayed legs":
            add("shelf", slab(rectangle(lx, ly, 0.01, 3), 0.25 * height, 0.25 * height + 0.02, 0.004))
            words.append("with shelf")
    return Model(parts=tuple(parts), keywords=tuple(words), symmetry=symmetry)
