"""Boats: sailing boat, motor boat, rowing boat, fishing boat, tug boat. Metres; bow at -y."""

from __future__ import annotations

import numpy as np

from models.cad.shapes.car_body import hump
from models.cad.shapes.part import CHROME, GLASS, PLATE, TRIM, Assembly, Colour, Model, between, paint, pick, wood
from models.cad.shapes.solid import Points, Solid, bar, box, curve, cylinder, flat, hoop, join, loft, rectangle, shell, slab, tube


class Hull:
    """A boat's hull as a surface, from its length, beam, depth and the rise of its deck line towards the bow."""

    def __init__(self, length: float, beam: float, depth: float, sheer: float, transom: float, flat_bottom: float) -> None:
        self.length, self.half, self.depth, self.sheer, self.transom, self.bottom = (
            length,
            beam / 2,
            depth,
            sheer,
            transom,
            flat_bottom,
        )

    def width(self, u: Points) -> Points:
        """Half width at deck level, u = 0 at the bow and 1 at the stern."""
        outline = [
            (0.0, 0.015),
            (0.06, 0.24),
            (0.18, 0.58),
            (0.38, 0.93),
            (0.55, 1.0),
            (0.8, 0.5 + self.transom / 2),
            (1.0, self.transom),
        ]
        return self.half * hump(u, outline)

    def deck(self, u: Points) -> Points:
        """Height of the deck line."""
        return self.depth + self.sheer * ((1 - u) ** 2 * 1.0 + 0.22 * np.clip(u - 0.6, 0, 1) ** 2)

    def keel(self, u: Points) -> Points:
        return self.deck(u) * np.clip(1 - u / 0.22, 0, 1) ** 2.2

    def rings(self, open_to: float | None, grow: float = 0.0, band: tuple[float, float] | None = None, count: int = 25) -> Points:
        """Cross-sections from bow to stern; `open_to` hollows the hull down to that share of its depth."""
        u = np.unique(np.concatenate([[0, 0.01, 0.03, 0.06], np.linspace(0.1, 1, count)]))
        y = (u - 0.5) * self.length
        half, top, low = self.width(u) + grow, self.deck(u), self.keel(u)
        shape = np.array(
            [
                (0.0, 0.0),
                (0.30 + 0.35 * self.bottom, 0.02),
                (0.68 + 0.2 * self.bottom, 0.18),
                (0.88, 0.45),
                (0.96, 0.75),
                (1.0, 1.0),
            ]
        )
        if band is not None:
            t = np.linspace(*band, 3)
            shape = np.stack([np.interp(t, shape[:, 1], shape[:, 0]), t], axis=-1)
        x, z = half[:, None] * shape[:, 0], low[:, None] + (top - low)[:, None] * shape[:, 1]
        if open_to is not None:
            wall = np.minimum(0.05 * self.half, 0.4 * half)
            inside = half - wall
            floor = np.minimum(np.maximum(self.depth * open_to, low + 0.3 * (top - low)), top - 0.02 * self.depth)
            for share, level in ((1.0, top), (0.97, 0.5 * (top + floor)), (0.84, floor)):
                x = np.concatenate([x, (inside * share)[:, None]], axis=1)
                z = np.concatenate([z, level[:, None]], axis=1)
            x, z = np.concatenate([x, 0 * x[:, :1]], axis=1), np.concatenate([z, floor[:, None]], axis=1)
        else:
            x = np.concatenate([x, 0 * x[:, :1]], axis=1)
            z = np.concatenate([z, (top + 0.03 * self.half)[:, None]], axis=1)
        left = np.stack([x, np.broadcast_to(y[:, None], x.shape), z], axis=-1)
        right = left[:, -2:0:-1] * np.array([-1.0, 1.0, 1.0])
        rings: Points = np.concatenate([left, right], axis=1)
        return rings

    def solid(self, open_to: float | None = None) -> Solid:
        return loft(self.rings(open_to))

    def strake(self, z0: float, z1: float, lift: float) -> Solid:
        """A band along both sides between two shares of the hull's depth."""
        u = np.linspace(0.02, 1.0, 26)
        rows = []
        shape = np.array(
            [
                (0.0, 0.0),
                (0.30 + 0.35 * self.bottom, 0.02),
                (0.68 + 0.2 * self.bottom, 0.18),
                (0.88, 0.45),
                (0.96, 0.75),
                (1.0, 1.0),
            ]
        )
        for t in np.linspace(z0, z1, 3):
            x = self.width(u) * np.interp(t, shape[:, 1], shape[:, 0])
            z = self.keel(u) + (self.deck(u) - self.keel(u)) * t
            rows.append(np.stack([x, (u - 0.5) * self.length, z], axis=-1))
        return shell(np.array(rows), -lift, -lift).both_sides()

    def at(self, u: float) -> tuple[float, float, float]:
        """Half width, y and deck height at one place."""
        where = np.array([u])
        return float(self.width(where)[0]), (u - 0.5) * self.length, float(self.deck(where)[0])


def cabin(
    y0: float, y1: float, half: float, z0: float, z1: float, front: float, rear: float, taper: float = 0.9
) -> tuple[Solid, Solid, Solid]:
    """A deckhouse that leans in by `front` and `rear`: its walls, its band of windows and its roof."""

    def ring(t: float, out: float = 0.0) -> Points:
        a, b = y0 + front * t - out, y1 - rear * t + out
        outline = rectangle(half * (1 + (taper - 1) * t) + out, (b - a) / 2, 0.12 * half, 4)
        return flat(outline + np.array([0.0, (a + b) / 2]), z0 + (z1 - z0) * t)

    walls = loft([ring(0.0), ring(1.0)])
    glass = loft([ring(0.48, 0.012 * half), ring(0.88, 0.012 * half)])
    top = ring(1.0, 0.08 * half)
    roof = loft([top, top + np.array([0, 0, 0.10 * half]), top * np.array([0.9, 1, 1]) + np.array([0, 0, 0.16 * half])])
    return walls, glass, roof


def boat(rng: np.random.Generator) -> Model:
    """A boat."""
    style = pick(rng, "sailing boat", "sailing boat", "motor boat", "rowing boat", "fishing boat", "tug boat")
    made = Assembly()
    maker = {
        "sailing boat": _sailing,
        "motor boat": _motor,
        "rowing boat": _rowing,
        "fishing boat": _working,
        "tug boat": _working,
    }[style]
    words = maker(made, rng, paint(rng), paint(rng), style)
    return Model(parts=tuple(made.parts), keywords=(style, *words))


def _sailing(made: Assembly, rng: np.random.Generator, colour: Colour, second: Colour, style: str) -> tuple[str, ...]:
    length = 7.0
    hull = Hull(length, between(rng, 2.0, 2.5), between(rng, 0.85, 1.05), between(rng, 0.2, 0.4), between(rng, 0.55, 0.75), 0.0)
    made.add("hull", hull.solid(), colour, roughness=0.3)
    made.add("waterline", hull.strake(0.30, 0.42, 0.012), second)
    half, y, z = hull.at(0.50)
    walls, glass, roof = cabin(y - 1.1, y + 0.9, 0.52 * half, z - 0.05, z + 0.38, 0.5, 0.1)
    made.add("cabin", join(walls, roof), PLATE)
    made.add("windows", glass, GLASS, roughness=0.1)
    _, ys, zs = hull.at(0.84)
    made.add("cockpit", box(1.0, 1.3, 0.12, 0.03).moved(0, ys, zs + 0.04), wood(rng))
    tall = between(rng, 6.8, 8.5)
    mast_y = (between(rng, 0.36, 0.44) - 0.5) * length
    made.add("mast", bar((0, mast_y, 0.6), (0, mast_y, tall), 0.06, 0.04, 14), CHROME, 0.6)
    boom_z, boom = z + 0.75, between(rng, 2.7, 3.3)
    made.add("boom", bar((0, mast_y, boom_z), (0, mast_y + boom, boom_z), 0.045, sections=12), CHROME, 0.6)
    cloth = PLATE if rng.random() < 0.6 else paint(rng)
    side = 0.30 if rng.random() < 0.5 else -0.30

    def sail(corners: tuple[tuple[float, float], ...], belly: float) -> Solid:
        (y_a, z_a), (y_b, z_b), (y_c, z_c) = corners
        grid = []
        for t in np.linspace(0, 0.985, 12):
            row = []
            for s in np.linspace(0, 1, 8):
                ya, za = y_a + (y_c - y_a) * t, z_a + (z_c - z_a) * t
                yb, zb = y_b + (y_c - y_b) * t, z_b + (z_c - z_b) * t
                row.append(
                    (belly * 4 * s * (1 - s) * (1 - t) + belly * 0.4 * s * (1 - t), ya + (yb - ya) * s, za + (zb - za) * s)
                )
            grid.append(row)
        return shell(np.array(grid), 0.012, 0.012)

    made.add(
        "mainsail",
        sail(((mast_y + 0.05, boom_z + 0.08), (mast_y + boom, boom_z + 0.08), (mast_y + 0.05, tall - 0.15)), side),
        cloth,
        roughness=0.9,
    )
    bow = hull.at(0.02)
    words = []
    if rng.random() < 0.75:
        made.add(
            "jib",
            sail(((-length / 2 + 0.15, bow[2] + 0.15), (mast_y - 0.25, boom_z), (mast_y - 0.12, 0.86 * tall)), side),
            cloth,
            roughness=0.9,
        )
        words.append("sloop")
    stays = [
        bar((0, -length / 2 + 0.1, bow[2]), (0, mast_y, 0.9 * tall), 0.015, sections=6),
        bar((0, length / 2 - 0.05, zs), (0, mast_y, tall - 0.05), 0.015, sections=6),
    ]
    made.add("stays", join(*stays), TRIM)
    made.add(
        "keel",
        loft([flat(rectangle(0.05, 0.75, 0.04, 3), 0.1), flat(rectangle(0.04, 0.5, 0.03, 3), -0.75)]).moved(y=0.15),
        second,
    )
    made.add("rudder", box(0.06, 0.35, 0.9).moved(0, length / 2 - 0.12, 0.1), second)
    return tuple(words)


def _motor(made: Assembly, rng: np.random.Generator, colour: Colour, second: Colour, style: str) -> tuple[str, ...]:
    length = 6.0
    hull = Hull(length, between(rng, 2.0, 2.3), between(rng, 0.85, 1.05), between(rng, 0.25, 0.45), between(rng, 0.85, 0.95), 0.4)
    made.add("hull", hull.solid(open_to=0.45), colour, roughness=0.25)
    made.add("stripe", hull.strake(0.72, 0.88, 0.012), second)
    u = np.linspace(0.03, 0.44, 12)
    bow = np.stack([hull.width(u) * 0.99, (u - 0.5) * length, hull.deck(u)], axis=-1)
    across = np.linspace(1, -1, 7)
    grid = np.array([[(p[0] * s, p[1], p[2] + 0.10 * hull.half * (1 - s * s)) for s in across] for p in bow])
    made.add("foredeck", shell(grid, 0.02, 0.03), PLATE if rng.random() < 0.5 else colour, roughness=0.3)
    half, y, z = hull.at(0.44)
    t = np.linspace(-1, 1, 11)
    screen = np.array(
        [
            [(0.86 * half * s * (1 - 0.1 * v), y - 0.35 + 0.55 * s * s + 0.35 * v, z + 0.06 + 0.48 * v) for v in (0.0, 0.5, 1.0)]
            for s in t
        ]
    )
    made.add("windscreen", shell(screen, 0.015, 0.015), GLASS, roughness=0.1)
    made.add("console", box(1.3 * half, 0.4, 0.45, 0.05).moved(0, y + 0.05, z - 0.12), second)
    _, ys, zs = hull.at(0.74)
    seats = [box(0.55, 0.5, 0.18, 0.06).moved(s * 0.45, y + 0.95, 0.62) for s in (-1, 1)] + [
        box(0.55, 0.14, 0.5, 0.05).moved(s * 0.45, y + 1.22, 0.82) for s in (-1, 1)
    ]
    seats.append(box(1.5, 0.5, 0.4, 0.08).moved(0, ys + 0.6, 0.62))
    made.add("seats", join(*seats), paint(rng), roughness=0.8)
    motor = join(
        box(0.42, 0.55, 0.55, 0.14).moved(0, length / 2 + 0.18, zs + 0.35),
        box(0.16, 0.30, 1.0, 0.05).moved(0, length / 2 + 0.20, zs - 0.35),
    )
    made.add("outboard", motor, TRIM)
    rail = hull.at(0.05)
    path = curve(
        [
            (0.75 * half, y - 0.55, z + 0.05),
            (0.70 * half, y - 0.8, z + 0.32),
            (0.30 * half, -length / 2 + 0.75, rail[2] + 0.34),
            (0.0, -length / 2 + 0.35, rail[2] + 0.34),
        ],
        16,
    )
    made.add("rails", tube(path, 0.02, 8).both_sides(), CHROME, 1.0)
    if rng.random() < 0.4:
        top = slab(rectangle(0.75 * half, 0.85, 0.2, 5), 0, 0.06, 0.02).moved(0, y + 0.8, z + 1.15)
        posts = [
            bar((s * 0.85 * half, y + 0.1 + k, z), (s * 0.68 * half, y + 0.2 + k, z + 1.16), 0.022, sections=8)
            for s in (-1, 1)
            for k in (0.0, 1.2)
        ]
        made.add("bimini", top, second)
        made.add("bimini_posts", join(*posts), CHROME, 1.0)
        return ("speedboat", "with canopy")
    return ("speedboat",)


def _rowing(made: Assembly, rng: np.random.Generator, colour: Colour, second: Colour, style: str) -> tuple[str, ...]:
    length = 4.0
    hull = Hull(length, between(rng, 1.25, 1.5), between(rng, 0.42, 0.52), between(rng, 0.15, 0.3), between(rng, 0.5, 0.75), 0.5)
    made.add("hull", hull.solid(open_to=0.22), colour, roughness=0.5)
    u = np.linspace(0.0, 1.0, 26)
    line = np.stack([hull.width(u) + 0.005, (u - 0.5) * length, hull.deck(u)], axis=-1)
    made.add("gunwale", tube(line, 0.032, 8).both_sides(), second)
    planks = []
    for where in (0.28, 0.52, 0.78):
        half, y, z = hull.at(where)
        planks.append(box(1.86 * half, 0.24, 0.04, 0.01).moved(0, y, z - 0.14))
    made.add("thwarts", join(*planks), wood(rng))
    half, y, z = hull.at(0.62)
    out = between(rng, 0.9, 1.3)
    loom = bar((0.25, y + 0.25, z + 0.25), (half + out, y - 0.25, z - 0.12), 0.022, sections=10)
    blade = loft(
        [
            flat(rectangle(0.05, 0.02, 0.01, 3), 0.0),
            flat(rectangle(0.09, 0.012, 0.008, 3), 0.2),
            flat(rectangle(0.08, 0.012, 0.008, 3), 0.5),
        ]
    )
    tilt = np.degrees(np.arctan2(half + out - 0.25, -0.37))
    swing = np.degrees(np.arctan2(-0.5, half + out - 0.25))
    paddle = blade.turned("y", tilt).turned("z", swing).moved(half + out - 0.02, y - 0.25, z - 0.115)
    made.add("oars", join(loom, paddle).both_sides(), wood(rng))
    lock = bar((half, y - 0.07, z - 0.02), (half, y - 0.07, z + 0.10), 0.025, sections=8)
    made.add("rowlocks", lock.both_sides(), CHROME, 1.0)
    return ("dinghy",)


def _working(made: Assembly, rng: np.random.Generator, colour: Colour, second: Colour, style: str) -> tuple[str, ...]:
    tug = style == "tug boat"
    length = between(rng, 7.5, 8.5) if tug else between(rng, 8.5, 10.0)
    hull = Hull(length, between(rng, 2.9, 3.3), between(rng, 1.2, 1.5), between(rng, 0.7, 1.1), between(rng, 0.7, 0.85), 0.3)
    made.add("hull", hull.solid(open_to=0.72), colour, roughness=0.4)
    made.add("boot_top", hull.strake(0.22, 0.40, 0.015), second)
    u = np.linspace(0.0, 1.0, 26)
    line = np.stack([hull.width(u) + 0.01, (u - 0.5) * length, hull.deck(u)], axis=-1)
    made.add("rub_rail", tube(line, 0.09 if tug else 0.06, 8).both_sides(), TRIM)
    place = 0.42 if tug else between(rng, 0.34, 0.42) if rng.random() < 0.5 else 0.70
    half, y, _ = hull.at(place)
    floor = 0.72 * hull.depth - 0.05
    high = floor + between(rng, 1.9, 2.3)
    house = PLATE if rng.random() < 0.6 else second
    if tug:
        lower, _, _ = cabin(y - 1.2, y + 2.0, 0.62 * half, floor, floor + 1.25, 0.1, 0.1, 0.96)
        walls, glass, roof = cabin(y - 0.9, y + 0.7, 0.5 * half, floor + 1.2, floor + 2.7, 0.15, 0.05)
        made.add("deckhouse", lower, house)
        funnel = cylinder(0.34, floor + 1.2, floor + 2.7, 28, bevel=0.03).moved(0, y + 1.35)
        made.add("funnel", funnel, second)
        cap = hoop([(0.36, floor + 2.35), (0.36, floor + 2.6), (0.30, floor + 2.6), (0.30, floor + 2.35)], 28)
        made.add("funnel_band", cap.moved(0, y + 1.35), TRIM)
        mast_top, mast_y = floor + 3.9, y - 0.2
        tyres = [tube(_circle(0.22, hull.at(w)), 0.08, 8, closed=True) for w in (0.3, 0.45, 0.6, 0.75)]
        made.add("fenders", join(*[t.both_sides() for t in tyres]), TRIM, roughness=0.9)
    else:
        walls, glass, roof = cabin(y - 0.9, y + 0.9, 0.58 * half, floor, high, 0.12, 0.05)
        mast_top, mast_y = high + between(rng, 1.6, 2.4), (0.62 if place < 0.5 else 0.40) * length - length / 2
        derrick = bar((0, mast_y, floor + 0.9), (0, mast_y + (1.9 if place < 0.5 else -1.9), mast_top - 0.5), 0.05, sections=10)
        made.add("derrick", derrick, second)
        hold = box(1.2, 1.3, 0.35, 0.05).moved(0, mast_y + (0.9 if place < 0.5 else -1.0), floor + 0.15)
        made.add("hatch", hold, wood(rng))
        top = np.array([0, mast_y, mast_top - 0.1])
        ropes = [
            bar(top, (0, -length / 2 + 0.15, hull.at(0.02)[2]), 0.018, sections=6),
            bar(top - np.array([0, 0, 0.05]), (0, length / 2 - 0.1, hull.at(0.98)[2]), 0.018, sections=6),
        ]
        made.add("ropes", join(*ropes), TRIM)
    made.add("wheelhouse", walls, house)
    made.add("windows", glass, GLASS, roughness=0.1)
    made.add("roof", roof, second)
    made.add("mast", bar((0, mast_y, floor), (0, mast_y, mast_top), 0.07, 0.045, 12), TRIM if tug else wood(rng))
    return ("trawler",) if not tug else ("workboat",)


def _circle(radius: float, at: tuple[float, float, float]) -> Points:
    half, y, z = at
    a = np.arange(16) * 2 * np.pi / 16
    return np.stack([np.full(16, half + 0.08), y + radius * np.cos(a), z - 0.3 + radius * np.sin(a)], axis=-1)
