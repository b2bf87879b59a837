"""Trucks: a cab before a load: box, flatbed, tanker, dump, tarpaulin or a semi-trailer. Metres; front at -y."""

from __future__ import annotations

import numpy as np

from models.cad.shapes.bus import pane, screen, shell_body
from models.cad.shapes.part import (
    CHROME,
    GLASS,
    LAMP,
    PLATE,
    TAIL,
    TRIM,
    Assembly,
    Colour,
    Model,
    between,
    paint,
    pick,
    wood,
)
from models.cad.shapes.solid import Solid, box, cylinder, ellipsoid, flat, join, loft, rectangle, tube
from models.cad.shapes.wheels import arch_height, arch_stations, wheel


def truck(rng: np.random.Generator) -> Model:
    """A truck."""
    load = pick(
        rng, "box truck", "box truck", "flatbed truck", "tank truck", "dump truck", "tarpaulin truck", "semi-trailer truck"
    )
    hooded = rng.random() < (0.6 if load in ("semi-trailer truck", "dump truck") else 0.25)
    colour, second = paint(rng), paint(rng)
    half = between(rng, 1.16, 1.26)
    radius = between(rng, 0.48, 0.54)
    chassis = 2 * radius - 0.05
    ground = 0.38
    cab_h = between(rng, 2.65, 3.05) if load != "semi-trailer truck" else between(rng, 3.0, 3.4)
    cab_l = between(rng, 1.75, 2.1) if load != "semi-trailer truck" else between(rng, 2.0, 2.5)
    hood = between(rng, 1.15, 1.5) if hooded else 0.0
    load_l = between(rng, 4.2, 6.0) if load != "semi-trailer truck" else between(rng, 7.5, 9.0)
    gap = 0.18 if load != "semi-trailer truck" else 0.55
    made = Assembly()
    add = made.add

    y0 = 0.0
    front = y0 + hood
    cab_end = front + cab_l
    axle_f = y0 + 0.72 if hooded else front + between(rng, 1.05, 1.3)
    arch = radius * 1.15
    load_0 = cab_end + gap
    end = load_0 + load_l
    cab_ground = chassis - 0.15 if hooded else ground

    # The cab.
    lean = between(rng, 0.04, 0.20) if not hooded else between(rng, 0.15, 0.35)
    e = np.array([0, 0.03, 0.08, 0.16, 0.28])
    stations = np.concatenate([front + e, np.linspace(front + 0.5, cab_end - 0.12, 5), [cab_end - 0.04, cab_end]])
    axles = () if hooded else (axle_f,)
    y = arch_stations(stations, axles, arch, 11) if axles else stations
    plan = 1 - 0.10 * np.clip(1 - (y - front) / 0.30, 0, 1) ** 2
    low = np.maximum(cab_ground, arch_height(y, axles, arch, radius)) if axles else np.full(len(y), cab_ground)
    high = cab_h - 0.16 * np.clip(1 - (y - front) / 0.30, 0, 1) ** 2
    cab = shell_body(y, half * plan, low, high, 0.16, 0.05)
    belt = cab_ground + 0.50 * (cab_h - cab_ground) if not hooded else cab_h - 1.05
    # Above the belt the front leans back: a shear that grows with height.
    vertices = cab.vertices.copy()
    above = np.clip((vertices[:, 2] - belt) / (cab_h - belt), 0, 1)
    near = np.clip(1 - (vertices[:, 1] - front) / (0.8 * cab_l), 0, 1)
    vertices[:, 1] += lean * above * near
    add("cab", Solid(vertices, cab.faces), colour, roughness=0.3)
    top = cab_h - 0.32
    w = 0.86 * half
    rise = lean * (top - belt) / (cab_h - belt)
    add("windscreen", screen(front, w, belt + 0.02, top, rise, 0.03, 0.014, -1), GLASS, roughness=0.08)
    door_0, door_1 = front + 0.34, front + min(1.35, 0.72 * cab_l)
    grid_y = [door_0 + 0.03 + rise * 0.4, door_1 - 0.05]
    add(
        "side_windows",
        pane(half * 0.985 - 0.018, grid_y[0], grid_y[1], belt + 0.06, top - 0.02).both_sides(),
        GLASS,
        roughness=0.1,
    )
    seam_low = low.max() + 0.1 if not hooded else cab_ground + 0.1
    seams = [
        pane(half - 0.02, door_1 - 0.012, door_1 + 0.012, seam_low, top + 0.05, 0.05),
        pane(half - 0.02, door_0 - 0.012, door_0 + 0.012, seam_low, belt, 0.05),
    ]
    add("seams", join(*seams).both_sides(), TRIM, roughness=0.9)
    add("handles", pane(half, door_1 - 0.30, door_1 - 0.10, belt - 0.16, belt - 0.11, 0.06).both_sides(), TRIM)
    visor = box(1.7 * half, 0.26, 0.10, 0.04).turned("x", 12).moved(0, front + rise - 0.04, top + 0.10)
    if rng.random() < 0.5:
        add("visor", visor, second)
    mirror = join(
        box(0.16, 0.10, 0.46, 0.045).moved(half + 0.20, front + 0.06, belt + 0.30),
        tube([(half * 0.96, front + 0.25, belt + 0.45), (half + 0.20, front + 0.06, belt + 0.42)], 0.02, 8),
    )
    add("mirrors", mirror.both_sides(), TRIM)

    face = y0
    if hooded:
        yh = np.concatenate([y0 + np.array([0, 0.03, 0.09, 0.2]), np.linspace(y0 + 0.4, front + 0.05, 5)])
        yh = arch_stations(yh, (axle_f,), arch, 11)
        yh = yh[yh <= front + 0.05]
        t = np.clip((yh - y0) / hood, 0, 1)
        zh = belt - 0.30 + 0.32 * t - 0.16 * np.clip(1 - t / 0.2, 0, 1) ** 2
        hh = half * (0.80 + 0.14 * t)
        add(
            "hood",
            shell_body(yh, hh, np.maximum(ground + 0.05, arch_height(yh, (axle_f,), arch, radius)), zh, 0.20, 0.10),
            colour,
            roughness=0.3,
        )
        lamp_z = ground + 0.62
        grille = box(0.95 * half, 0.10, belt - 0.75 - ground - 0.25, 0.04).moved(0, y0 + 0.0, (belt - 0.45 + ground + 0.30) / 2)
        lamp_x = 0.62 * half
    else:
        lamp_z = ground + 0.36
        grille = box(1.15 * half, 0.10, between(rng, 0.32, 0.60), 0.04).moved(0, front + 0.01, ground + 0.86)
        lamp_x = 0.72 * half
    add("grille", grille, TRIM, roughness=0.7)
    gz = float(grille.vertices[:, 2].mean())
    gh = float(np.ptp(grille.vertices[:, 2]))
    gw = float(np.ptp(grille.vertices[:, 0]))
    bars = [box(0.96 * gw, 0.12, 0.035).moved(0, face - 0.01, gz + k * gh / 5) for k in (-2, -1, 0, 1, 2)]
    add("grille_bars", join(*bars), CHROME, 1.0, 0.3)
    lamp = ellipsoid(0.14, 0.09, 0.14, 20, 7) if rng.random() < 0.4 else box(0.34, 0.14, 0.20, 0.05)
    add("headlights", lamp.moved(lamp_x, face + 0.02, lamp_z).both_sides(), LAMP, roughness=0.1)
    add("bumper", box(1.92 * half, 0.24, 0.30, 0.06).moved(0, face + 0.02, ground + 0.05), TRIM if rng.random() < 0.5 else CHROME)
    add("plate_front", box(0.52, 0.03, 0.12).moved(0, face - 0.105, ground + 0.06), PLATE)

    # Frame, tanks, mudguards.
    add("chassis", box(0.9, end - (y0 + 0.3), 0.26, 0.02).moved(0, (y0 + 0.3 + end) / 2, chassis - 0.12), TRIM, roughness=0.9)
    if hooded or load == "semi-trailer truck":
        stack = cylinder(0.07, chassis, cab_h + 0.35, 16).moved(half - 0.12, cab_end + 0.10)
        add("stacks", stack.both_sides(), CHROME, 1.0, 0.3)
    tank_y = axle_f + arch + 0.75
    add(
        "fuel_tanks",
        cylinder(0.27, -0.45, 0.45, 20, bevel=0.04).turned("x", 90).moved(half - 0.34, tank_y, 0.62).both_sides(),
        CHROME,
        1.0,
        0.35,
    )

    _load(made, rng, load, half, chassis, load_0, end, second)

    lamp_y = end - 0.02
    add("underrun", box(1.9 * half, 0.10, 0.14, 0.02).moved(0, lamp_y - 0.10, 0.62), TRIM)
    add("tail_lights", box(0.34, 0.08, 0.16, 0.03).moved(0.74 * half, lamp_y - 0.02, 0.66).both_sides(), TAIL, roughness=0.15)
    add("underrun_posts", box(0.08, 0.08, chassis - 0.6).moved(0.35, lamp_y - 0.12, 0.6 + (chassis - 0.6) / 2).both_sides(), TRIM)

    rears = [end - between(rng, 1.3, 1.7)]
    if (
        load in ("tank truck", "dump truck")
        or (load != "semi-trailer truck" and rng.random() < 0.35)
        or load == "semi-trailer truck"
    ):
        rears.append(rears[0] - 2 * radius - 0.12)
    if load == "semi-trailer truck":
        rears.append(cab_end + between(rng, 0.3, 0.6))
        add(
            "landing_gear",
            join(*[box(0.12, 0.12, chassis - 0.15).moved(s * 0.6, rears[-1] + 2.4, (chassis + 0.1) / 2) for s in (-1, 1)]),
            TRIM,
        )
    rim = CHROME if rng.random() < 0.6 else paint(rng)
    for k, ya in enumerate([axle_f, *sorted(rears)]):
        wide = 0.30 if k == 0 else 0.50
        for side, sx in (("l", 1), ("r", -1)):
            made.parts.extend(wheel(f"{k}{side}", sx * (half - wide / 2 - 0.02), ya, radius, wide, 0, rim, 0.56))
    words = (load, "hooded cab" if hooded else "cab over engine")
    return Model(parts=tuple(made.parts), keywords=words)


def _load(
    made: Assembly, rng: np.random.Generator, load: str, half: float, chassis: float, y0: float, y1: float, second: Colour
) -> None:
    """What stands on the chassis between y0 and y1."""
    add = made.add
    middle, length = (y0 + y1) / 2, y1 - y0
    floor = chassis + 0.02
    if load in ("box truck", "semi-trailer truck"):
        tall = between(rng, 2.1, 2.5) if load == "box truck" else between(rng, 2.5, 2.8)
        tone = PLATE if rng.random() < 0.35 else second
        add("cargo_box", box(2 * half + 0.06, length, tall, 0.04, 3).moved(0, middle, floor + tall / 2), tone)
        frame = [
            box(0.05, length * 0.985, 0.10).moved(s * (half + 0.03), middle, floor + z)
            for s in (-1, 1)
            for z in (0.06, tall - 0.06)
        ]
        n = int(length / between(rng, 0.8, 1.3))
        if rng.random() < 0.6:
            frame += [
                box(0.03, 0.06, tall * 0.96).moved(s * (half + 0.035), y0 + length * (k + 0.5) / n, floor + tall / 2)
                for s in (-1, 1)
                for k in range(n)
            ]
        add("cargo_frame", join(*frame), CHROME, 0.6)
        doors = [box(0.96 * half, 0.05, tall * 0.92).moved(s * 0.5 * half, y1 + 0.01, floor + tall / 2) for s in (-1, 1)]
        add("cargo_doors", join(*doors), tone)
        rods = [
            cylinder(0.025, -0.45 * tall, 0.45 * tall, 10).moved(s * 0.25 * half, y1 + 0.05, floor + tall / 2) for s in (-1, 1)
        ]
        add("door_rods", join(*rods), CHROME, 1.0)
    elif load == "flatbed truck":
        add("bed", box(2 * half, length, 0.14, 0.02).moved(0, middle, floor + 0.07), wood(rng))
        add("headboard", box(2 * half, 0.08, 1.1, 0.02).moved(0, y0 + 0.04, floor + 0.6), second)
        n = 4
        boards, posts = [], []
        for s in (-1, 1):
            boards.append(box(0.05, length * 0.97, 0.42).moved(s * (half - 0.02), middle, floor + 0.36))
            posts += [
                box(0.07, 0.09, 0.50).moved(s * half, y0 + 0.12 + (length - 0.24) * k / n, floor + 0.36) for k in range(n + 1)
            ]
        boards.append(box(2 * half - 0.05, 0.05, 0.42).moved(0, y1 - 0.02, floor + 0.36))
        add("boards", join(*boards), second)
        add("posts", join(*posts), TRIM)
    elif load == "tank truck":
        r = between(rng, 0.95, 1.1)
        z = floor + 0.20 + r * 0.9
        tank = (
            cylinder(r, -length / 2 + 0.05, length / 2 - 0.05, 36, bevel=0.12)
            .turned("x", 90)
            .scaled(1.08, 1, 0.92)
            .moved(0, middle, z)
        )
        metal = rng.random() < 0.5
        add("tank", tank, CHROME if metal else second, 1.0 if metal else 0.0, 0.3)
        bands = [
            cylinder(r + 0.02, -0.05, 0.05, 36).turned("x", 90).scaled(1.08, 1, 0.92).moved(0, y0 + length * f, z)
            for f in (0.12, 0.37, 0.63, 0.88)
        ]
        add("tank_bands", join(*bands), TRIM)
        add(
            "hatches",
            join(*[cylinder(0.26, 0, 0.16, 20).moved(0, y0 + length * f, z + r * 0.9) for f in (0.25, 0.5, 0.75)]),
            CHROME,
            1.0,
        )
        add("saddle", box(1.4, length * 0.94, 0.45, 0.02).moved(0, middle, floor + 0.2), TRIM)
        ladder = [cylinder(0.022, floor, z + 0.9 * r, 8).moved(s * 0.2, y1 + 0.02) for s in (-1, 1)]
        ladder += [box(0.42, 0.03, 0.03).moved(0, y1 + 0.02, floor + 0.25 + 0.3 * k) for k in range(6)]
        add("ladder", join(*ladder), CHROME, 1.0)
    elif load == "dump truck":
        tall = between(rng, 1.2, 1.6)
        slope = 0.35
        outer = rectangle(half, length / 2, 0.05, 3)
        rings = []
        for scale, z, grow in (
            (0.92, floor + 0.10, 0.0),
            (1.0, floor + 0.45, 0.0),
            (1.0, floor + tall, slope),
            (0.95, floor + tall, slope),
            (0.87, floor + 0.35, 0.0),
        ):
            ring = outer * scale
            ring = ring + np.stack([np.zeros(len(ring)), np.where(ring[:, 1] > 0, grow * 0.6, 0)], axis=-1)
            rings.append(flat(ring, z))
        add("tipper", loft(rings).moved(0, middle), second)
        add("canopy", box(2 * half, 1.1, 0.10, 0.03).moved(0, y0 - 0.30, floor + tall + 0.05), second)
        ribs = [
            box(0.08, 0.14, tall - 0.25, 0.02).moved(s * (half + 0.02), y0 + length * (k + 0.5) / 6, floor + tall / 2 + 0.12)
            for s in (-1, 1)
            for k in range(6)
        ]
        add("ribs", join(*ribs), second)
    else:
        tall = between(rng, 1.9, 2.3)
        add("bed", box(2 * half, length, 0.14, 0.02).moved(0, middle, floor + 0.07), TRIM)
        add(
            "boards",
            join(
                *[box(0.05, length * 0.98, 0.5).moved(s * half, middle, floor + 0.35) for s in (-1, 1)],
                box(2 * half, 0.05, 0.5).moved(0, y1, floor + 0.35),
            ),
            second,
        )
        y = np.linspace(y0 + 0.03, y1 - 0.03, 25)
        sag = 0.035 * np.abs(np.sin(np.linspace(0, 4 * np.pi, 25)))
        tarp = shell_body(y, half - 0.03 - sag, np.full(25, floor + 0.4), floor + tall - sag, 0.35, 0.02)
        add("tarpaulin", tarp, paint(rng), roughness=0.9)
