"""Buses: city bus, coach, double-decker, minibus and school bus; doors at the right side (-x). Metres; front at -y."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from models.cad.shapes.part import CHROME, GLASS, LAMP, PLATE, TAIL, TRIM, Assembly, Model, between, paint, pick
from models.cad.shapes.solid import Points, Solid, box, cylinder, ellipsoid, join, loft, rectangle, shell, slab, tube
from models.cad.shapes.wheels import arch_height, arch_stations, wheel
from models.caption.vocabulary import COLOURS


def shell_body(y: Points, half: Points, z0: Points, z1: Points, radius: float, tumble: float = 0.0) -> Solid:
    """A long body: at each station its half width, lower and upper edge; upper edges round, walls drawn in by `tumble`."""
    a = np.radians([0, 22, 45, 68, 90])
    r = np.minimum(radius, 0.45 * (z1 - z0))
    xs, zs = [np.zeros(len(y)), 0.985 * half, half], [z0, z0, z0 + 0.04]
    for f in (0.35, 0.7):
        xs.append(half * (1 - tumble * f**2))
        zs.append(z0 + f * (z1 - r - z0))
    top = half * (1 - tumble)
    for angle in a:
        xs.append(top - r * (1 - np.cos(angle)))
        zs.append(z1 - r + r * np.sin(angle))
    xs.append((top - r) * 0.5)
    zs.append(z1 + 0.03)
    x, z = np.array(xs), np.array(zs)
    ring_x = np.concatenate([x, np.zeros((1, len(y))), -x[:0:-1]]).T
    ring_z = np.concatenate([z, (z1 + 0.04)[None], z[:0:-1]]).T
    return loft(np.stack([ring_x, np.broadcast_to(y[:, None], ring_x.shape), ring_z], axis=-1))


def pane(x: float, y0: float, y1: float, z0: float, z1: float, depth: float = 0.05, radius: float = 0.06) -> Solid:
    """A round-cornered plate standing in a side wall at x."""
    ring = rectangle((z1 - z0) / 2, (y1 - y0) / 2, min(radius, 0.25 * (y1 - y0)), 3)
    return slab(ring, -depth / 2, depth / 2).turned("y", 90).moved(x, (y0 + y1) / 2, (z0 + z1) / 2)


def screen(y: float, half: float, z0: float, z1: float, lean: float, bow: float, lift: float, sign: float) -> Solid:
    """A bowed window across the front (sign -1) or rear (+1) end."""
    x, z = np.meshgrid(np.linspace(-half, half, 11), np.linspace(z0, z1, 5), indexing="ij")
    wide = 1 - 0.02 * (z - z0) / (z1 - z0)
    depth = y + sign * (bow * (1 - (x / half) ** 2)) - sign * lean * (z - z0) / (z1 - z0)
    return shell(np.stack([x * wide, depth, z], axis=-1), -sign * lift, -sign * 0.06)


def bus(rng: np.random.Generator) -> Model:
    """A bus."""
    style = pick(rng, "city bus", "city bus", "coach", "double-decker bus", "minibus", "school bus")
    colour, second = paint(rng), paint(rng)
    if style == "school bus" and rng.random() < 0.7:
        colour = COLOURS["yellow"]
    length = {
        "city bus": between(rng, 9.5, 12),
        "coach": between(rng, 11, 13),
        "double-decker bus": between(rng, 9.5, 11),
        "minibus": between(rng, 6, 7.5),
        "school bus": between(rng, 9, 11),
    }[style]
    half = between(rng, 1.22, 1.30) if style != "minibus" else between(rng, 1.02, 1.12)
    ground = {"city bus": 0.30, "coach": 0.36, "double-decker bus": 0.30, "minibus": 0.32, "school bus": 0.55}[style]
    height = {
        "city bus": between(rng, 2.9, 3.1),
        "coach": between(rng, 3.3, 3.7),
        "double-decker bus": between(rng, 4.1, 4.4),
        "minibus": between(rng, 2.5, 2.75),
        "school bus": between(rng, 2.95, 3.15),
    }[style]
    radius = 0.48 if style != "minibus" else 0.38
    hood = 1.25 if style == "school bus" else 0.0
    y0, y1 = -length / 2, length / 2
    front = y0 + hood
    axle_f = y0 + (0.72 if hood else (between(rng, 2.3, 2.7) if style != "minibus" else 1.3))
    axle_r = y1 - (between(rng, 2.8, 3.3) if style != "minibus" else 1.6)
    arch = radius * 1.16
    made = Assembly()
    add = made.add
    words = [style]

    # The shell: ends rounded in plan, the front leaning back a little.
    e = np.array([0, 0.03, 0.09, 0.18, 0.32])
    stations = np.concatenate([front + e, np.linspace(front + 0.6, y1 - 0.6, 14), y1 - e[::-1]])
    axles = (axle_f, axle_r) if not hood else (axle_r,)
    y = arch_stations(stations, axles, arch, 11)
    from_end = np.minimum(y - front, y1 - y)
    round_plan = 1 - 0.13 * np.clip(1 - from_end / 0.34, 0, 1) ** 2
    bottom = np.maximum(ground, arch_height(y, axles, arch, radius))
    crown = height - 0.22 * np.clip(1 - from_end / 0.34, 0, 1) ** 2
    add("body", shell_body(y, half * round_plan, bottom, crown, 0.22, 0.03), colour, roughness=0.3)
    add("underbody", box(1.3 * half, (y1 - front) * 0.96, 0.5).moved(0, (front + y1) / 2, ground + 0.3), TRIM, roughness=0.9)

    # Windows in rows between pillars; the doors keep their places on the right.
    belt = {"city bus": 1.28, "coach": 1.75, "double-decker bus": 1.30, "minibus": 1.28, "school bus": 1.62}[style]
    window_top = height - (0.42 if style != "coach" else 0.40)
    rows = [(belt, window_top)]
    if style == "double-decker bus":
        rows = [(1.22, 2.05), (2.72, 3.62)]
    count = round((y1 - front - 1.1) / between(rng, 1.15, 1.6)) if style != "school bus" else int((y1 - front - 1.1) / 0.8)
    door_count = {
        "city bus": int(rng.integers(2, 4)),
        "coach": 1,
        "double-decker bus": 1 + int(rng.random() < 0.5),
        "minibus": 1,
        "school bus": 1,
    }[style]
    door_w = 1.15 if style in ("city bus", "double-decker bus") else 0.85
    centres = [front + 0.30 + door_w / 2]
    if door_count == 2:
        centres.append((axle_f + axle_r) / 2 + 0.2)
    if door_count == 3:
        centres += [(axle_f + axle_r) / 2 + 0.1, y1 - 1.25]
    if style == "minibus":
        centres = [axle_f + arch + 0.25 + door_w / 2]
    lip = 0.012
    glass: list[Solid] = []
    for row, (z0, z1) in enumerate(rows):
        edges = np.linspace(front + 0.55, y1 - 0.45, count + 1)
        gap = 0.06 if style != "school bus" else 0.09
        for a, b in pairwise(edges):
            wall = half * (1 - 0.03 * ((0.5 * (z0 + z1) - ground) / (height - ground)) ** 2) - 0.025 + lip
            window = pane(wall, a + gap, b - gap, z0, z1)
            glass.append(window)
            if row > 0 or not any(a < c + door_w / 2 + 0.05 and b > c - door_w / 2 - 0.05 for c in centres):
                glass.append(window.mirrored())
    add("side_windows", join(*glass), GLASS, roughness=0.1)

    doors, leaves = [], []
    for centre in centres:
        top = 2.12 if style == "double-decker bus" else min(window_top, ground + 2.2)
        for k in (-1, 1):
            mid = centre + k * door_w / 4
            doors.append(pane(-half + 0.022, mid - door_w / 4 + 0.01, mid + door_w / 4 - 0.01, ground + 0.06, top + 0.03))
            leaves.append(pane(-half + 0.012, mid - door_w / 4 + 0.07, mid + door_w / 4 - 0.07, ground + 0.22, top - 0.05))
    add("doors", join(*doors), second if rng.random() < 0.3 else TRIM, roughness=0.5)
    add("door_glass", join(*leaves), GLASS, roughness=0.1)

    # The face: a great windscreen, a sign over it, lamps low; the rear has a small high window, red lamps and a grille.
    w = half * 0.88
    lower = belt - (0.28 if not hood else -0.05)
    if style == "double-decker bus":
        add(
            "windscreen",
            join(screen(front, w, 1.10, 2.15, 0.0, 0.03, 0.01, -1), screen(front, w, 2.70, 3.66, 0.0, 0.03, 0.01, -1)),
            GLASS,
            roughness=0.08,
        )
        add("sign", box(1.5 * half, 0.08, 0.30, 0.03).moved(0, front - 0.02, 2.42), TRIM)
        sign_z = 2.42
    else:
        add("windscreen", screen(front, w, lower, window_top + 0.02, 0.02, 0.03, 0.01, -1), GLASS, roughness=0.08)
        sign_z = height - 0.24
        if style != "coach":
            add("sign", box(1.3 * half, 0.16, 0.24, 0.03).moved(0, front + 0.03, sign_z), TRIM)
    if style in ("city bus", "double-decker bus"):
        add(
            "sign_text",
            box(0.9 * half, 0.02, 0.12).moved(0, front - (0.058 if style == "city bus" else 0.065), sign_z),
            (0.9, 0.6, 0.1),
        )
    back = [(2.72, 3.55)] if style == "double-decker bus" else [(belt + 0.15, window_top - 0.02)]
    add("rear_window", join(*[screen(y1, 0.78 * half, a, b, 0.0, 0.02, 0.012, 1) for a, b in back]), GLASS, roughness=0.1)
    if style != "school bus":
        add(
            "engine_grille",
            join(*[box(1.3 * half, 0.06, 0.05).moved(0, y1 + 0.005, ground + 0.35 + 0.10 * k) for k in range(5)]),
            TRIM,
            roughness=0.8,
        )
    else:
        add("rear_door", box(0.9, 0.05, 1.9, 0.02).moved(0, y1 + 0.0, ground + 1.15), colour)
        add("rear_door_frame", box(0.98, 0.03, 1.98).moved(0, y1 + 0.0, ground + 1.15), TRIM)
    lamp_y = y0 if hood else front
    lamp_x = 0.72 * half if not hood else 0.62 * half
    lamp_z = ground + (0.38 if not hood else 0.62)
    lamp = ellipsoid(0.15, 0.10, 0.13, 20, 7) if rng.random() < 0.5 or hood else box(0.42, 0.14, 0.20, 0.05)
    add("headlights", lamp.moved(lamp_x, lamp_y + 0.01, lamp_z).both_sides(), LAMP, roughness=0.1)
    tails = join(
        *[
            box(0.17, 0.08, 0.26, 0.03).moved(0.86 * half, y1 - 0.01, ground + 0.40 + 0.32 * k)
            for k in range(2 + int(rng.random() < 0.4))
        ]
    )
    add("tail_lights", tails.both_sides(), TAIL, roughness=0.15)
    bumper = TRIM if rng.random() < 0.7 else second
    add(
        "bumpers",
        join(
            box(1.86 * half, 0.20, 0.24, 0.06).moved(0, lamp_y + 0.03, ground + 0.12),
            box(1.80 * half, 0.16, 0.22, 0.05).moved(0, y1 - 0.02, ground + 0.12),
        ),
        bumper,
    )
    add(
        "plates",
        join(
            box(0.52, 0.03, 0.12).moved(0, lamp_y - 0.075, ground + 0.13),
            box(0.52, 0.03, 0.12).moved(0, y1 + 0.06, ground + 0.13),
        ),
        PLATE,
    )

    if hood:
        yh = np.array([y0, y0 + 0.03, y0 + 0.10, y0 + 0.25, y0 + 0.7, front + 0.05])
        yh = arch_stations(yh, (axle_f,), min(arch, 0.56), 11)
        yh = yh[yh <= front + 0.05]
        t = np.clip((yh - y0) / hood, 0, 1)
        zh = ground + 0.78 + 0.30 * t - 0.20 * np.clip(1 - t / 0.2, 0, 1) ** 2
        hh = half * (0.80 + 0.08 * t - 0.08 * np.clip(1 - t / 0.15, 0, 1) ** 2)
        add(
            "hood",
            shell_body(yh, hh, np.maximum(ground, arch_height(yh, (axle_f,), min(arch, 0.56), radius)), zh, 0.16, 0.06),
            colour,
            roughness=0.3,
        )
        add("grille", box(0.62 * half, 0.08, 0.42, 0.03).moved(0, y0 - 0.005, ground + 0.48), TRIM)
        add("stop_sign", cylinder(0.23, -0.02, 0.02, 8).turned("y", 90).moved(half + 0.03, front + 1.1, belt - 0.35), TAIL)
        for drop in (0.22, 0.55):
            add(
                f"rub_rail_{int(100 * drop)}",
                box(2 * half + 0.04, (y1 - front) * 0.97, 0.06).moved(0, (front + y1) / 2, belt - drop),
                TRIM,
            )
    arm = [
        tube(
            [
                (0.8 * half, front + 0.10, window_top + 0.1),
                (1.0 * half, front - 0.22, window_top + 0.12),
                (1.12 * half, front - 0.25, window_top - 0.1),
            ],
            0.025,
            8,
        ),
        box(0.20, 0.10, 0.42, 0.045).moved(1.12 * half, front - 0.25, window_top - 0.32),
    ]
    if hood:
        arm = [
            box(0.20, 0.10, 0.36, 0.04).moved(1.16 * half, front - 0.05, belt + 0.35),
            box(0.3, 0.03, 0.03).moved(1.02 * half, front + 0.0, belt + 0.35),
        ]
    add("mirrors", join(*arm).both_sides(), TRIM)

    if style in ("city bus", "coach", "minibus") and rng.random() < 0.75:
        add(
            "roof_unit",
            box(1.3 * half, between(rng, 1.6, 2.6), 0.26, 0.09).moved(0, between(rng, -0.1, 0.3) * length, height + 0.12),
            colour if rng.random() < 0.5 else PLATE,
        )
    if rng.random() < 0.6 and style != "school bus":
        z = ground + between(rng, 0.42, 0.6) if style != "coach" else belt - 0.22
        wide = axle_r - axle_f - 2 * arch - 0.1
        stripe = pane(half + 0.002 - 0.02, axle_f + arch + 0.05, axle_f + arch + 0.05 + wide, z, z + 0.16, 0.04)
        add(
            "stripe",
            stripe if style != "coach" else pane(half + 0.002 - 0.02, front + 0.4, y1 - 0.4, z, z + 0.14, 0.04).both_sides(),
            second,
        )
    if style == "coach":
        n = 4
        span = (axle_r - axle_f - 2 * arch - 0.2) / n
        lockers = [
            pane(
                half - 0.008,
                axle_f + arch + 0.1 + k * span + 0.02,
                axle_f + arch + 0.1 + (k + 1) * span - 0.02,
                ground + 0.1,
                belt - 0.35,
            )
            for k in range(n)
        ]
        add("lockers", join(*[s.both_sides() for s in lockers]), colour, roughness=0.3)
    rim = CHROME if rng.random() < 0.6 else PLATE
    for name, sx, ya in (("fl", 1, axle_f), ("fr", -1, axle_f), ("rl", 1, axle_r), ("rr", -1, axle_r)):
        made.parts.extend(
            wheel(name, sx * (half - 0.17 - (0.08 if hood and ya == axle_f else 0)), ya, radius, 0.28, 0, rim, 0.58)
        )
    return Model(parts=tuple(made.parts), keywords=tuple(words))
