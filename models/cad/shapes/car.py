"""Cars: a lofted body with wheel arches, a greenhouse of glass under a roof on pillars, lamps, mirrors, wheels. Metres; nose at -y."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.cad.shapes.part import CHROME, GLASS, LAMP, PLATE, TAIL, TRIM, Colour, Model, Part, between, paint, pick
from models.cad.shapes.solid import Points, Solid, box, ellipsoid, flat, join, loft, shell, tube
from models.cad.shapes.wheels import arch_height, arch_stations, wheel


@dataclass(frozen=True, kw_only=True)
class Style:
    """A body style; lengths as fractions of the car's, heights in metres."""

    length: tuple[float, float]
    height: tuple[float, float]
    width: tuple[float, float]
    cowl: float
    """Where the windscreen's foot is."""
    roof: tuple[float, float]
    """Where the roof begins and ends."""
    tail: float
    """Where the rear window's foot is."""
    clearance: float
    wheel: float
    """Wheel radius."""
    hood: float
    """Drop of the hood's front edge below the belt line."""
    words: tuple[str, ...]


STYLES = {
    "sedan": Style(
        length=(4.4, 4.9),
        height=(1.40, 1.48),
        width=(1.76, 1.86),
        cowl=0.27,
        roof=(0.42, 0.68),
        tail=0.84,
        clearance=0.19,
        wheel=0.325,
        hood=0.16,
        words=("sedan", "saloon car"),
    ),
    "hatchback": Style(
        length=(3.6, 4.2),
        height=(1.45, 1.55),
        width=(1.66, 1.78),
        cowl=0.25,
        roof=(0.41, 0.86),
        tail=0.965,
        clearance=0.19,
        wheel=0.31,
        hood=0.17,
        words=("hatchback", "city car"),
    ),
    "estate": Style(
        length=(4.5, 4.9),
        height=(1.44, 1.52),
        width=(1.76, 1.85),
        cowl=0.26,
        roof=(0.40, 0.89),
        tail=0.972,
        clearance=0.19,
        wheel=0.325,
        hood=0.16,
        words=("estate car", "station wagon"),
    ),
    "suv": Style(
        length=(4.3, 4.8),
        height=(1.66, 1.82),
        width=(1.82, 1.94),
        cowl=0.26,
        roof=(0.385, 0.885),
        tail=0.968,
        clearance=0.26,
        wheel=0.375,
        hood=0.14,
        words=("suv", "off-road car"),
    ),
    "coupe": Style(
        length=(4.1, 4.6),
        height=(1.24, 1.34),
        width=(1.80, 1.92),
        cowl=0.34,
        roof=(0.49, 0.63),
        tail=0.90,
        clearance=0.14,
        wheel=0.335,
        hood=0.15,
        words=("coupe", "sports car"),
    ),
    "minivan": Style(
        length=(4.4, 4.9),
        height=(1.74, 1.94),
        width=(1.80, 1.92),
        cowl=0.17,
        roof=(0.33, 0.93),
        tail=0.982,
        clearance=0.19,
        wheel=0.325,
        hood=0.25,
        words=("minivan", "van"),
    ),
    "pickup": Style(
        length=(4.9, 5.4),
        height=(1.72, 1.86),
        width=(1.82, 1.96),
        cowl=0.265,
        roof=(0.375, 0.57),
        tail=0.605,
        clearance=0.28,
        wheel=0.385,
        hood=0.12,
        words=("pickup", "pickup truck"),
    ),
}


def hump(t: Points, points: list[tuple[float, float]]) -> Points:
    """A smooth line through a few (where, value): cubic between them, level steps stay level."""
    x, v = (np.array(column) for column in zip(*points))
    i = np.clip(np.searchsorted(x, t, side="right") - 1, 0, len(x) - 2)
    f = (t - x[i]) / (x[i + 1] - x[i])
    step = np.diff(v) / np.diff(x)
    slope = np.concatenate(
        [step[:1], np.where(step[:-1] * step[1:] > 0, 2 * step[:-1] * step[1:] / (step[:-1] + step[1:] + 1e-12), 0), step[-1:]]
    )
    width = x[i + 1] - x[i]
    return (
        (1 + 2 * f) * (1 - f) ** 2 * v[i]
        + f * (1 - f) ** 2 * width * slope[i]
        + f**2 * (3 - 2 * f) * v[i + 1]
        + f**2 * (f - 1) * width * slope[i + 1]
    )


@dataclass(frozen=True, kw_only=True)
class Body:
    """The car's lower body as a surface: half width and lower and upper edge for each place along it."""

    length: float
    half: float
    belt: float
    sill: float
    axle: float
    arch: float
    axles: tuple[float, float]
    top: tuple[tuple[float, float], ...]
    bluff: float
    """How much the ends are narrower than the middle."""

    def u(self, y: Points) -> Points:
        return y / self.length + 0.5

    def upper(self, y: Points) -> Points:
        return hump(self.u(y), list(self.top))

    def lower(self, y: Points) -> Points:
        u = self.u(y)
        ends = self.sill + 0.10 * np.clip(1 - u / 0.10, 0, 1) ** 2 + 0.12 * np.clip(1 - (1 - u) / 0.12, 0, 1) ** 2
        return np.maximum(ends, arch_height(y, self.axles, self.arch, self.axle))

    def plan(self, y: Points) -> Points:
        """Half width at the widest height."""
        e = np.abs(2 * self.u(y) - 1)
        nose = np.sqrt(np.clip(1 - np.clip((e - 0.90) / 0.10, 0, 1) ** 2, 0, 1))
        return self.half * (1 - self.bluff * e**4) * (0.80 + 0.20 * nose)

    def side(self, y: Points, z: Points) -> Points:
        """x of the left flank at places (y, z)."""
        t = (z - self.sill) / (self.belt - self.sill)
        return self.plan(y) * (1 - 0.075 * np.clip((t - 0.52) / 0.48, 0, 1.2) ** 2 - 0.06 * np.clip((0.45 - t) / 0.45, 0, 1) ** 2)

    def solid(self, low: bool = False) -> Solid:
        """The closed body; `low` gives the dark inner block that shows in the wheel arches."""
        u = np.unique(
            np.concatenate(
                [[0, 0.004, 0.014, 0.03, 0.05], np.linspace(0.08, 0.92, 15), 1 - np.array([0, 0.004, 0.014, 0.03, 0.05])]
            )
        )
        y = (u - 0.5) * self.length
        if low:
            y = np.linspace(-0.45, 0.45, 7) * self.length
            inner, z0 = 0.62 * self.half, self.sill + 0.02
            high = np.minimum(self.belt - 0.25, self.upper(y) - 0.12)
            return loft([[(-inner, v, z0), (inner, v, z0), (inner, v, z1), (-inner, v, z1)] for v, z1 in zip(y, high)])
        y = arch_stations(y, self.axles, self.arch)
        z0, z1 = self.lower(y), self.upper(y)
        shoulder = np.minimum(0.09, 0.35 * (z1 - z0))
        rows = []
        for f in (0.0, 0.06, 0.25, 0.45, 0.62, 0.80, 1.0):
            z = z0 + f * (z1 - shoulder - z0)
            rows.append((self.side(y, z) * (0.985 if f == 0 else 1.0), z))
        base = rows[-1][0]
        for a in np.radians([30, 60, 82]):
            rows.append((base - shoulder * 0.9 * (1 - np.cos(a)), z1 - shoulder + shoulder * np.sin(a)))
        crown = 0.035
        for f in (0.66, 0.33):
            rows.append(((base - 0.8 * shoulder) * f, z1 + crown * (1 - f**2)))
        x = np.array([r[0] for r in rows])
        z = np.array([r[1] for r in rows])
        bottom = (np.zeros((1, len(y))), z0[None])
        crest = (np.zeros((1, len(y))), (z1 + crown)[None])
        xs = np.concatenate([bottom[0], x, crest[0], -x[::-1]])
        zs = np.concatenate([bottom[1], z, crest[1], z[::-1]])
        return loft(np.stack([xs.T, np.broadcast_to(y[:, None], xs.T.shape), zs.T], axis=-1))

    def flank(self, y0: float, y1: float, z0: float, z1: float, lift: float, nz: int = 6, ny: int = 2) -> Solid:
        """A plate on both flanks, `lift` proud of them."""
        y, z = np.meshgrid(np.linspace(y0, y1, ny), np.linspace(z0, z1, nz), indexing="ij")
        x = self.side(y.ravel(), z.ravel()).reshape(y.shape)
        return shell(np.stack([x, y, z], axis=-1), lift, 0.02).both_sides()


@dataclass(frozen=True, kw_only=True)
class Greenhouse:
    """The cabin's glass: a round-cornered plan at each height, drawn in towards the roof."""

    foot: tuple[float, float]
    """y of the windscreen's and the rear window's foot."""
    roof: tuple[float, float]
    """y of the roof's front and rear edge."""
    z: tuple[float, float]
    half: tuple[float, float]
    """Half width at belt and roof."""
    bow: float

    def ring(self, v: float, out: float = 0.0, corner: int = 5) -> Points:
        """The plan at height v in 0..1, points from the left rear side corner round by the front, (4 * corner + 8, 3)."""
        y0 = self.foot[0] + (self.roof[0] - self.foot[0]) * v**1.08 - out
        y1 = self.foot[1] + (self.roof[1] - self.foot[1]) * v**1.15 + out
        hx = self.half[0] + (self.half[1] - self.half[0]) * v**1.2 + out
        z = self.z[0] + (self.z[1] - self.z[0]) * v
        r = 0.13
        a = np.linspace(0, np.pi / 2, corner)
        front = np.stack([hx - r + r * np.cos(a), y0 + r - r * np.sin(a)], axis=-1)
        rear = np.stack([hx - r + r * np.sin(a), y1 - r + r * np.cos(a)], axis=-1)
        middle = np.stack([np.full(3, hx + 0.012), y1 - r + (y0 - y1 + 2 * r) * np.array([0.25, 0.5, 0.75])], axis=-1)
        left = np.concatenate([rear, middle, front])
        tip = np.array([[0.0, y0], [0.0, y1]])
        ring = np.concatenate([left, tip[:1], (left * [-1, 1])[::-1], tip[1:]])
        # Both windows bow outward, the windscreen more.
        inward = np.abs(ring[:, 0]) / hx
        mid = (y0 + y1) / 2
        ring[:, 1] += (
            np.where(ring[:, 1] < mid, -self.bow, 0.5 * self.bow)
            * (1 - inward**2)
            * np.clip(np.abs(ring[:, 1] - mid) / (mid - y0) * 4 - 3, 0, 1)
        )
        return flat(ring, z)

    def glass(self) -> Solid:
        return loft([self.ring(v) for v in np.linspace(0, 1, 7)])

    def top(self, crown: float) -> Solid:
        """The roof panel."""
        rings = [self.ring(0.90, 0.004), self.ring(0.905, 0.014), self.ring(0.985, 0.014)]
        edge, middle = self.ring(1.0, 0.0), self.ring(1.0).mean(axis=0)
        for scale, rise in ((0.98, 0.2), (0.90, 0.55), (0.70, 0.85), (0.35, 1.0)):
            ring = middle + (edge - middle) * scale
            ring[:, 2] += crown * rise
            rings.append(ring)
        return loft(rings)

    def strip(self, first: int, last: int, lift: float = 0.012, low: float = 0.0, high: float = 0.97) -> Solid:
        """A pillar on both sides: the plan's points first..last, from belt to roof."""
        grid = np.array([self.ring(v)[first : last + 1] for v in np.linspace(low, high, 7)])
        return shell(grid, -lift, -0.03).both_sides()

    def post(self, y: float, width: float, lift: float = 0.012) -> Solid:
        """An upright pillar across the side windows at y (at the belt)."""
        grid = []
        for v in np.linspace(0, 0.97, 6):
            ring = self.ring(v)[4:9]
            lean = (self.roof[0] - self.foot[0]) * 0.06 * v
            ys = np.array([y - width / 2 + lean, y + width / 2 + lean])
            order = np.argsort(ring[:, 1])
            x = np.interp(ys, ring[order, 1], ring[order, 0])
            grid.append(np.stack([x, ys, np.full(2, ring[0, 2])], axis=-1))
        return shell(np.array(grid), lift, 0.03).both_sides()


def car(rng: np.random.Generator) -> Model:
    """A car: sedan, hatchback, estate, SUV, coupe, minivan or pickup."""
    name = pick(rng, *STYLES)
    s = STYLES[name]
    colour = paint(rng)
    length, height, width = between(rng, *s.length), between(rng, *s.height), between(rng, *s.width)
    half = width / 2
    belt = s.clearance + (height - s.clearance) * between(rng, 0.575, 0.625)
    radius = s.wheel * between(rng, 0.97, 1.05)
    front_axle = -0.5 * length + length * between(rng, 0.185, 0.205)
    rear_axle = 0.5 * length - length * between(rng, 0.175, 0.21) * (1.12 if name == "pickup" else 1.0)
    edge = belt - s.hood * between(rng, 0.85, 1.2)
    nose = s.clearance + 0.10 + (edge - s.clearance) * 0.60

    if name in ("sedan", "coupe"):
        deck = belt + between(rng, 0.0, 0.05)
        rear = [(0.74, belt), (s.tail + 0.02, deck), (0.972, deck - 0.03), (0.99, deck - 0.09), (1.0, deck - 0.24)]
    elif name == "pickup":
        bed = s.clearance + 0.45 * (belt - s.clearance)
        rear = [(s.tail + 0.012, belt), (s.tail + 0.018, bed), (1.0, bed)]
    else:
        rear = [(0.93, belt + 0.02), (0.988, belt - 0.01), (1.0, belt - 0.16)]
    top = [
        (0.0, nose),
        (0.010, edge - 0.09),
        (0.035, edge - 0.015),
        (0.08, edge + 0.01),
        (s.cowl, belt - 0.03),
        (s.cowl + 0.06, belt),
        *rear,
    ]
    body = Body(
        length=length,
        half=half,
        belt=belt,
        sill=s.clearance,
        axle=radius,
        arch=radius * 1.13,
        axles=(front_axle, rear_axle),
        top=tuple(top),
        bluff=between(rng, 0.08, 0.13),
    )
    at = lambda u: (u - 0.5) * length  # noqa: E731 - a fraction of the length as y
    inset = between(rng, 0.0, 0.02)
    house = Greenhouse(
        foot=(at(s.cowl), at(s.tail)),
        roof=(at(s.roof[0]), at(s.roof[1])),
        z=(belt - 0.07, height - 0.03),
        half=(half * 0.925 - inset, half * between(rng, 0.70, 0.76)),
        bow=0.10,
    )
    parts: list[Part] = []

    def add(part: str, solid: Solid, tone: Colour, metallic: float = 0.0, roughness: float = 0.4) -> None:
        parts.append(Part(name=part, solid=solid, colour=tone, metallic=metallic, roughness=roughness))

    add("body", body.solid(), colour, roughness=0.25)
    add(
        "underbody",
        body.solid(low=True) if name != "pickup" else box(1.2 * half, 0.9 * length, 0.25).moved(z=s.clearance + 0.14),
        TRIM,
        roughness=0.9,
    )
    add("glass", house.glass(), GLASS, roughness=0.08)
    two_tone = rng.random() < 0.18
    roof_colour = TRIM if two_tone else colour
    add("roof", house.top(0.05), roof_colour, roughness=0.25)
    pillars = [house.strip(8, 11, high=0.94), house.strip(0, 4 if name not in ("coupe", "sedan") else 3, high=0.94)]
    doors = 2 if name == "coupe" or (name in ("hatchback", "pickup") and rng.random() < 0.4) else 4
    y_a, y_c = house.foot
    first = front_axle + body.arch + 0.10
    b_post = first + (1.12 if doors == 2 else 0.98) * (length / 4.5) ** 0.5
    b_post = min(b_post, rear_axle - body.arch * (0.2 if doors == 4 else -0.2))
    if name != "pickup" or doors == 4:
        b_post = min(b_post, 0.35 * y_a + 0.65 * y_c) if name == "pickup" else b_post
        pillars.append(house.post(b_post, 0.09))
    add("pillars", join(*pillars), colour, roughness=0.25)
    if name in ("estate", "suv", "minivan"):
        add("d_pillars", house.post(y_c - 0.26 * (y_c - b_post), 0.10), colour, roughness=0.25)

    # Seams, handles, mirrors.
    low = s.clearance + 0.08
    seams = [body.flank(y - 0.007, y + 0.007, low, belt - 0.08, 0.003) for y in (first, b_post)]
    last = min(b_post + 0.95, rear_axle - 0.25 * body.arch) if doors == 4 else b_post
    if doors == 4:
        seams.append(body.flank(last - 0.007, last + 0.007, max(low, radius + body.arch * 0.98), belt - 0.08, 0.003))
    add("seams", join(*seams), TRIM, roughness=0.9)
    handle_z = belt - 0.14
    handles = [
        body.flank(y - 0.21, y - 0.05, handle_z - 0.018, handle_z + 0.018, 0.025, 2, 3)
        for y in ((b_post, last) if doors == 4 else (b_post,))
    ]
    add("handles", join(*handles), CHROME if rng.random() < 0.5 else TRIM)
    y_mirror = y_a + 0.50
    x_mirror = float(body.side(np.array([y_mirror]), np.array([belt - 0.05]))[0])
    mirror = join(
        box(0.22, 0.10, 0.14, 0.045).moved(x_mirror + 0.12, y_mirror, belt + 0.05),
        box(0.16, 0.05, 0.04, 0.015).moved(x_mirror + 0.01, y_mirror, belt - 0.01),
    )
    add("mirrors", mirror.both_sides(), colour if rng.random() < 0.7 else TRIM)

    _face(parts, rng, name, body, edge, nose)
    _tail(parts, rng, name, body, belt, colour)

    spokes = int(rng.choice([5, 6, 7, 10]))
    rim: Colour = CHROME if rng.random() < 0.75 else (0.05, 0.05, 0.055)
    for corner, x, y in (("fl", 1, front_axle), ("fr", -1, front_axle), ("rl", 1, rear_axle), ("rr", -1, rear_axle)):
        wide = 0.22 if name not in ("suv", "pickup") else 0.26
        parts.extend(wheel(corner, x * (half - wide / 2 - 0.015), y, radius, wide, spokes, rim))
    if name in ("suv", "pickup") or rng.random() < 0.15:
        rim_lift = [_arch_trim(body, centre) for centre in body.axles]
        add("arch_trim", join(*rim_lift), TRIM, roughness=0.8)
        add(
            "sills",
            body.flank(front_axle + body.arch, rear_axle - body.arch, s.clearance + 0.005, s.clearance + 0.13, 0.012, 3, 4),
            TRIM,
            roughness=0.8,
        )
    if name in ("suv", "estate") and rng.random() < 0.7:
        edge_line = np.array([house.ring(0.99)[6], house.ring(0.99)[7], house.ring(0.99)[8]])
        x, y0, y1, z = edge_line[1, 0] - 0.06, house.roof[0] + 0.25, house.roof[1] - 0.15, height + 0.035
        rail = tube([(x, y0, z - 0.06), (x, y0 + 0.08, z), (x, y1 - 0.08, z), (x, y1, z - 0.06)], 0.018, 8)
        add("roof_rails", rail.both_sides(), CHROME if rng.random() < 0.5 else TRIM)
    return Model(parts=tuple(parts), keywords=(*s.words, f"{doors}-door") if name != "pickup" else s.words)


def _arch_trim(body: Body, centre: float) -> Solid:
    a = np.linspace(0.02, np.pi - 0.02, 13)
    grid = []
    for r in (body.arch - 0.004, body.arch + 0.05):
        y, z = centre + r * np.cos(a), body.axle + r * np.sin(a)
        grid.append(np.stack([body.side(y, z), y, z], axis=-1))
    return shell(np.array(grid), -0.012, -0.03).both_sides()


def _face(parts: list[Part], rng: np.random.Generator, name: str, body: Body, edge: float, nose: float) -> None:
    """Headlights, grille, bumper and number plate."""
    front = -body.length / 2
    half = body.half
    z = edge - 0.135
    round_lamps = rng.random() < 0.22
    x = half * between(rng, 0.66, 0.72)
    if round_lamps:
        lamp = ellipsoid(0.115, 0.09, 0.115, 20, 7).moved(x, front + 0.09, z)
        ring = ellipsoid(0.135, 0.07, 0.135, 20, 7).moved(x, front + 0.10, z)
        parts.append(Part(name="headlight_rings", solid=ring.both_sides(), colour=CHROME, metallic=1.0, roughness=0.2))
    else:
        tall = between(rng, 0.14, 0.20)
        lamp = box(between(rng, 0.36, 0.46), 0.34, tall, 0.05).turned("z", 17).moved(x, front + 0.18, z)
    parts.append(Part(name="headlights", solid=lamp.both_sides(), colour=LAMP, roughness=0.1))
    grille_w, grille_h = 2 * x - between(rng, 0.42, 0.60), between(rng, 0.10, 0.22)
    parts.append(
        Part(
            name="grille", solid=box(grille_w, 0.12, grille_h, 0.03).moved(0, front + 0.045, z - 0.02), colour=TRIM, roughness=0.6
        )
    )
    if rng.random() < 0.6:
        bars = [
            box(grille_w * 0.97, 0.12, 0.018, 0.006).moved(0, front + 0.038, z - 0.02 + k * grille_h * 0.28) for k in (-1, 0, 1)
        ]
        parts.append(Part(name="grille_bars", solid=join(*bars), colour=CHROME, metallic=1.0, roughness=0.25))
    low = body.sill + 0.16
    intake = box(1.25 * half, 0.14, between(rng, 0.10, 0.15), 0.03).moved(0, front + 0.05, low)
    parts.append(Part(name="intake", solid=intake, colour=TRIM, roughness=0.8))
    plate_z = 0.5 * (low + 0.07 + z - 0.02 - grille_h / 2)
    parts.append(Part(name="plate_front", solid=box(0.50, 0.02, 0.11, 0.005).moved(0, front - 0.008, plate_z), colour=PLATE))
    if rng.random() < 0.5:
        fog = ellipsoid(0.06, 0.04, 0.06, 14, 7).moved(0.74 * half, front + 0.06, low + 0.01)
        parts.append(Part(name="fog_lights", solid=fog.both_sides(), colour=LAMP, roughness=0.1))


def _tail(parts: list[Part], rng: np.random.Generator, name: str, body: Body, belt: float, colour: Colour) -> None:
    """Tail lights, number plate, bumper, and a pickup's bed."""
    rear = body.length / 2
    half = body.half
    tall = name in ("hatchback", "estate", "suv", "minivan", "pickup")
    if tall and rng.random() < 0.65:
        lamp = box(0.17, 0.22, between(rng, 0.28, 0.40), 0.03).moved(half * 0.79, rear - 0.085, belt - 0.22)
    else:
        lamp = (
            box(between(rng, 0.36, 0.50), 0.22, between(rng, 0.14, 0.19), 0.04)
            .turned("z", -12)
            .moved(half * 0.66, rear - 0.105, belt - 0.19)
        )
    parts.append(Part(name="tail_lights", solid=lamp.both_sides(), colour=TAIL, roughness=0.15))
    parts.append(
        Part(
            name="plate_rear",
            solid=box(0.50, 0.03, 0.11, 0.005).moved(0, rear, belt - 0.30 if tall else belt - 0.24),
            colour=PLATE,
        )
    )
    bumper = box(1.55 * half, 0.16, 0.16, 0.05).moved(0, rear - 0.05, body.sill + 0.24)
    parts.append(Part(name="bumper_rear", solid=bumper, colour=TRIM if rng.random() < 0.6 else colour, roughness=0.7))
    if rng.random() < 0.6:
        pipe = tube([(0.45 * half, rear - 0.3, body.sill + 0.105), (0.45 * half, rear + 0.01, body.sill + 0.105)], 0.035, 12)
        parts.append(Part(name="exhaust", solid=pipe, colour=CHROME, metallic=1.0))
    if name == "pickup":
        y0, y1 = (STYLES[name].tail + 0.014 - 0.5) * body.length, rear - 0.02
        bed = body.sill + 0.45 * (belt - body.sill)
        y, z = np.meshgrid(np.linspace(y0, y1, 8), np.linspace(bed - 0.06, belt, 5), indexing="ij")
        x = body.side(y.ravel(), z.ravel()).reshape(y.shape)
        walls = shell(np.stack([x, y, z], axis=-1), 0.0, 0.07).both_sides()
        wide = 1.80 * half
        gate = box(wide - 0.1, 0.07, belt - bed + 0.05, 0.02).moved(0, y1 - 0.03, (belt + bed) / 2 - 0.025)
        head = box(wide - 0.06, 0.06, belt - bed + 0.05, 0.02).moved(0, y0 + 0.03, (belt + bed) / 2 - 0.025)
        parts.append(Part(name="bed_walls", solid=join(walls, gate, head), colour=colour, roughness=0.25))
        floor = box(wide - 0.14, y1 - y0 - 0.06, 0.02).moved(0, (y0 + y1) / 2, bed + 0.045)
        parts.append(Part(name="bed_floor", solid=floor, colour=TRIM, roughness=0.9))
    elif name in ("hatchback", "coupe") and rng.random() < 0.4:
        spoiler_z = belt + 0.10 if name == "coupe" else None
        if spoiler_z is not None:
            wing = join(
                box(1.5 * half, 0.20, 0.03, 0.012).moved(0, rear - 0.12, spoiler_z),
                box(0.05, 0.12, 0.16, 0.01).moved(0.5 * half, rear - 0.14, spoiler_z - 0.08).both_sides(),
            )
            parts.append(Part(name="spoiler", solid=wing, colour=colour, roughness=0.25))
