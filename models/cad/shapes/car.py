"""Cars: a lofted body, a greenhouse of glass under a roof on pillars, lamps, mirrors, wheels. Metres; nose at -y."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.cad.shapes.car_body import Body, Greenhouse, arch_trim
from models.cad.shapes.part import CHROME, GLASS, LAMP, PLATE, TAIL, TRIM, Assembly, Colour, Model, Part, between, paint, pick
from models.cad.shapes.solid import box, ellipsoid, join, shell, tube
from models.cad.shapes.wheels import wheel


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
        wheel=0.32,
        hood=0.10,
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
        bed = _bed(s.clearance, belt, radius)
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

    def at(fraction: float) -> float:
        return (fraction - 0.5) * length

    inset = between(rng, 0.0, 0.02)
    house = Greenhouse(
        foot=(at(s.cowl), at(s.tail)),
        roof=(at(s.roof[0]), at(s.roof[1])),
        z=(belt - 0.07, height - 0.03),
        half=(half * 0.925 - inset, half * between(rng, 0.70, 0.76)),
        bow=0.10,
    )
    made = Assembly()
    add = made.add

    add("body", body.solid(), colour, roughness=0.25)
    add(
        "underbody",
        body.core() if name != "pickup" else box(1.2 * half, 0.9 * length, 0.25).moved(z=s.clearance + 0.14),
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

    _face(made.parts, rng, name, body, edge, nose)
    _tail(made.parts, rng, name, body, belt, colour)

    spokes = int(rng.choice([5, 6, 7, 10]))
    rim: Colour = CHROME if rng.random() < 0.75 else (0.05, 0.05, 0.055)
    for corner, x, y in (("fl", 1, front_axle), ("fr", -1, front_axle), ("rl", 1, rear_axle), ("rr", -1, rear_axle)):
        wide = 0.22 if name not in ("suv", "pickup") else 0.26
        made.parts.extend(wheel(corner, x * (half - wide / 2 - 0.015), y, radius, wide, spokes, rim))
    if name in ("suv", "pickup") or (name != "coupe" and rng.random() < 0.15):
        rim_lift = [arch_trim(body, centre) for centre in body.axles]
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
    return Model(parts=tuple(made.parts), keywords=(*s.words, f"{doors}-door") if name != "pickup" else s.words)


def _bed(sill: float, belt: float, radius: float) -> float:
    """The height of a pickup's bed: above the wheel arches."""
    return max(sill + 0.45 * (belt - sill), 2.13 * radius + 0.04)


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
        bed = _bed(body.sill, belt, body.axle)
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
