"""Skies, grounds and rooms: what a ray meets that misses the object.

Enters: a Look and rays or points. Leaves: linear RGB: radiance for skies, albedo for surfaces. Patterns are computed for every
picture anew; where one is finer than a pixel it fades to its mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.caption import vocabulary
from models.world import noise
from models.world.scene import Look

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What N rays that miss the object meet."""

    floor: NDArray[np.bool_]
    """(N,) rays that reach the ground."""
    wall: NDArray[np.int32]
    """(N,) -1 no wall, 0..3 the walls, 4 the ceiling."""
    distance: Floats
    """(N,) to floor, wall or ceiling; 0 for the sky."""
    points: Floats
    """(N, 3) where they meet; zero for the sky."""


def rgb(colour: tuple[float, float, float]) -> Floats:
    """Return a colour as an array."""
    return np.array(colour, np.float32)


def _blend(first: Floats, second: Floats, share: Floats) -> Floats:
    weight = np.clip(share, 0.0, 1.0)[:, None]
    return np.asarray(first * (1 - weight) + second * weight, np.float32)


def _step(values: Floats, low: float, high: float) -> Floats:
    x = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def surround(look: Look, centre: Floats, directions: Floats, ground_z: float) -> Surroundings:
    """Return what rays from `centre` meet: the ground plane at `ground_z`, and indoors the walls of a box around it all."""
    n = len(directions)
    wall = np.full(n, -1, np.int32)
    down = directions[:, 2] < -1e-4
    distance = np.where(down, (ground_z - centre[2]) / np.where(down, directions[:, 2], -1.0), np.inf).astype(np.float32)
    floor = down & (distance < 400.0)
    distance[~floor] = np.inf
    if look.scene in vocabulary.INDOOR and look.scene != "studio":
        yaw = np.radians(look.yaw_deg)
        turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]], np.float32)
        at, towards = turn @ centre[:2], directions[:, :2] @ turn.T
        half = max(float(np.abs(at).max()) + 0.25, 1.3 + 0.5 * look.grain + 0.5 * look.scale)
        for axis in (0, 1):
            for sign in (1, -1):
                facing = towards[:, axis] * sign > 1e-4
                t = np.where(facing, (sign * half - at[axis]) / np.where(facing, towards[:, axis], 1.0), np.inf)
                nearer = t < distance
                distance = np.where(nearer, t, distance)
                wall = np.where(nearer, 2 * axis + (sign < 0), wall).astype(np.int32)
        top = max(float(centre[2]) + 0.4, ground_z + 2.2)
        rising = directions[:, 2] > 1e-4
        t = np.where(rising, (top - centre[2]) / np.where(rising, directions[:, 2], 1.0), np.inf)
        nearer = t < distance
        distance, wall = np.where(nearer, t, distance), np.where(nearer, 4, wall).astype(np.int32)
        floor = floor & (wall < 0)
    met = np.isfinite(distance)
    distance = np.where(met, distance, 0.0).astype(np.float32)
    points = np.where(met[:, None], centre + directions * distance[:, None], 0.0).astype(np.float32)
    return Surroundings(floor=floor, wall=wall, distance=distance, points=points)


def sky(look: Look, directions: Floats, detail: bool = True) -> Floats:
    """Return (N, 3) radiance from the sky (indoors: from the walls and lamps around); without `detail` no clouds and stars."""
    up = directions[:, 2]
    colour = _blend(rgb(look.horizon), rgb(look.zenith), np.power(np.clip(up, 0.0, 1.0), 0.55))
    sunward = directions @ rgb(look.sun)
    if look.light == "sunset":
        flat = np.hypot(look.sun[0], look.sun[1]) + 1e-6
        side = (directions[:, 0] * look.sun[0] + directions[:, 1] * look.sun[1]) / flat
        colour = colour * (0.75 + 0.35 * side[:, None]).astype(np.float32)
        colour += rgb((0.9, 0.35, 0.08)) * np.exp((sunward - 1) * 12.0)[:, None]
    if look.light == "studio":
        # Two softboxes for glossy things to mirror.
        colour = (
            colour
            + 1.3 * _step(sunward, 0.80, 0.88)[:, None]
            + 0.5 * _step(directions @ rgb((-look.sun[1], look.sun[0], 0.3)), 0.8, 0.9)[:, None]
        )
    if look.light in ("noon", "sunset"):
        colour = colour + rgb(look.sun_colour) * (1.5 * np.exp((sunward - 1) * 250.0))[:, None]
    if look.lamp:
        colour = colour + rgb((0.9, 0.8, 0.62)) * (look.lamp * _step(sunward, 0.90, 0.97))[:, None]
    if not detail:
        return np.asarray(colour, np.float32)
    flat = directions[:, :2] / (np.abs(up) + 0.18)[:, None]
    footprint = np.full(len(flat), 0.004, np.float32)
    if look.clouds > 0:
        cover = noise.fractal(flat.astype(np.float32), 6.0 * look.scale, 4, footprint, look.texture)
        if look.light == "overcast":
            colour = colour * (1.0 + 0.10 * cover[:, None])
        else:
            white = rgb((0.95, 0.95, 0.97)) if look.light == "noon" else rgb((0.85, 0.42, 0.30))
            colour = _blend(
                colour.astype(np.float32), white, _step(cover, 1.3 - 1.8 * look.clouds, 2.6 - 1.8 * look.clouds) * 0.85
            )
    if look.light == "night" and look.scene not in vocabulary.INDOOR:
        stars = noise.plane(flat.astype(np.float32), 60.0, look.texture + 1)
        colour = colour + 0.5 * _step(stars, 2.7, 3.3)[:, None]
    return np.asarray(colour, np.float32)


def ambient(look: Look, normals: Floats) -> Floats:
    """Return (N, 3) irradiance from everything but the main light and lamp."""
    above = 0.55 * rgb(look.zenith) + 0.45 * rgb(look.horizon)
    below = rgb(look.ground) * (0.4 * rgb(look.sun_colour) * max(look.sun[2], 0.1) + 0.6 * above)
    return _blend(below.astype(np.float32), above.astype(np.float32), 0.5 + 0.5 * normals[:, 2])


def environment(look: Look, directions: Floats) -> Floats:
    """Return (N, 3) radiance that a glossy surface mirrors from a direction: blurred sky above, the mean ground below."""
    above = sky(look, directions, detail=False)
    lit = rgb(look.sun_colour) * max(look.sun[2], 0.1) + 0.5 * (rgb(look.zenith) + rgb(look.horizon)) + look.lamp * 0.5
    below = (rgb(look.ground) * lit * 0.7).astype(np.float32)
    return _blend(below, above, _step(directions[:, 2], -0.06, 0.04))


def beyond(look: Look, directions: Floats) -> Floats:
    """Return (N, 3) radiance of rays that end nowhere: the sky, and at the horizon trees, hills or houses."""
    colour = sky(look, directions)
    if look.scene == "studio":
        tone = 0.80 + 0.22 * directions[:, 2]
        light = rgb(look.zenith) if look.light == "studio" else rgb((0.10, 0.10, 0.13)) * (0.6 + look.lamp)
        return np.asarray(rgb(look.ground) * light * (1.35 * tone)[:, None], np.float32)
    if look.backdrop <= 0:
        return colour
    flat = np.hypot(directions[:, 0], directions[:, 1]) + 1e-6
    bearing = np.arctan2(directions[:, 1], directions[:, 0]).astype(np.float32)
    footprint = np.full(len(bearing), 0.003, np.float32)
    if look.scene == "road" and look.texture % 2:
        block = np.floor(bearing * 7.0 * look.scale)
        profile = 0.55 + 0.5 * np.sin(block * 12.9898 + look.texture)
        shade = 0.75 + 0.25 * np.sin(block * 78.233)
        tint = rgb((0.30, 0.27, 0.25))
    else:
        cells = {"grass": 9.0, "road": 9.0, "sand": 1.5, "snow": 2.5, "water": 2.0}.get(look.scene, 3.0)
        # Around a circle, so that the horizon closes without a seam.
        line = (directions[:, :2] / flat[:, None]).astype(np.float32)
        profile = 0.65 + 0.22 * noise.fractal(line, cells, 3, footprint, look.texture)
        across = np.stack([bearing, directions[:, 2]], axis=-1).astype(np.float32)
        shade = 1.0 + 0.25 * noise.fractal(across, cells * 6, 2, footprint, look.texture + 2)
        tint = rgb(look.accent)
    light = ambient(look, np.array([[0.0, 0.0, 1.0]], np.float32))[0] + 0.5 * rgb(look.sun_colour)
    body = tint * light * np.asarray(shade, np.float32)[:, None]
    haze = 0.30 if look.light != "night" else 0.1
    body = body * (1 - haze) + haze * rgb(look.horizon)
    return _blend(colour, body.astype(np.float32), _step(profile * look.backdrop - directions[:, 2] / flat, -0.004, 0.004))


def ground(look: Look, points: Floats, footprint: Floats) -> Floats:
    """Return (N, 3) albedo of the ground at (N, 2) points; `footprint` (N,) is the length that a pixel covers there."""
    yaw = np.radians(look.yaw_deg)
    turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]], np.float32)
    at = np.ascontiguousarray(points @ turn.T)
    base, t, s = rgb(look.ground), look.texture, look.scale
    if look.scene == "grass":
        blades = noise.fractal(at, 70.0 / s, 3, footprint, t)
        patches = noise.fractal(at, 4.0 / s, 2, footprint, t + 3)
        colour = base * np.exp(0.22 * blades)[:, None]
        return _blend(colour.astype(np.float32), colour * rgb((1.5, 1.15, 0.9)), 0.25 * patches)
    if look.scene == "sand":
        ripple = np.sin(at[:, 0] * (26.0 / s) + 1.4 * noise.fractal(at, 2.0 / s, 2, footprint, t))
        fade = np.clip(1.5 - footprint * 14.0 / s, 0.0, 1.0)
        return np.asarray(
            base * (1.0 + 0.10 * ripple * fade + 0.06 * noise.fractal(at, 80.0, 2, footprint, t + 1))[:, None], np.float32
        )
    if look.scene == "snow":
        drift = noise.fractal(at, 5.0 / s, 4, footprint, t)
        return _blend(np.broadcast_to(base, (len(at), 3)).astype(np.float32), base * rgb((0.78, 0.86, 1.0)), 0.25 + 0.28 * drift)
    if look.scene == "road":
        return _road(look, at, footprint)
    if look.scene == "wood floor":
        return _planks(base, at, footprint, 0.16 * s, t)
    if look.scene == "tiles":
        return _tiles(look, at, footprint, 0.30 * s)
    if look.scene == "water":
        return np.asarray(base * (1.0 + 0.3 * noise.fractal(at, 6.0 / s, 3, footprint, t))[:, None], np.float32)
    if look.scene == "room":
        if t % 3 == 0:
            return _planks(base, at, footprint, 0.2 * s, t)
        return np.asarray(base * (1.0 + 0.10 * noise.fractal(at, 80.0, 2, footprint, t))[:, None], np.float32)
    return np.asarray(np.broadcast_to(base, (len(at), 3)), np.float32)


def _road(look: Look, at: Floats, footprint: Floats) -> Floats:
    half = 1.1 + 0.5 * look.grain
    asphalt = (
        rgb(look.ground)
        * (
            1.0
            + 0.10 * noise.fractal(at, 90.0, 2, footprint, look.texture)
            + 0.06 * noise.fractal(at, 5.0, 2, footprint, look.texture + 3)
        )[:, None]
    )
    verge = rgb(look.accent) * np.exp(0.18 * noise.fractal(at, 60.0, 2, footprint, look.texture + 2))[:, None]
    # The object stands in one lane: the marks run along y beside it.
    across, along = at[:, 0] - 0.55 * (half - 0.9), at[:, 1]
    soft = footprint * 0.7 + 0.006
    paint = rgb((0.75, 0.75, 0.72)) if look.texture % 4 else rgb((0.80, 0.55, 0.08))
    edge = np.clip((0.035 - np.abs(np.abs(across) - half + 0.1)) / soft + 0.5, 0.0, 1.0)
    centre = np.clip((0.035 - np.abs(across + half - 0.45)) / soft + 0.5, 0.0, 1.0) * (np.sin(along * 3.2) > -0.2)
    colour = _blend(asphalt.astype(np.float32), paint, np.maximum(edge, centre) * 0.85)
    return _blend(colour, verge.astype(np.float32), np.clip((np.abs(across) - half) / soft + 0.5, 0.0, 1.0))


def _planks(base: Floats, at: Floats, footprint: Floats, width: float, table: int) -> Floats:
    plank = np.floor(at[:, 0] / width)
    shift = np.mod(np.sin(plank * 91.7 + table) * 43.7, 1.0)
    board = np.floor(at[:, 1] / (width * 6) + shift * 5)
    tint = 1.0 + 0.22 * np.sin(plank * 12.9 + board * 78.2 + table)
    stretched = np.ascontiguousarray(np.stack([at[:, 0] * 5 + plank * 3.3, at[:, 1] * 0.6], axis=-1), np.float32)
    grain = noise.fractal(stretched, 9.0, 3, footprint * 5, table)
    inside = np.abs(np.mod(at[:, 0] / width, 1.0) - 0.5) * width
    seam = np.clip((inside - width / 2 + 0.008) / (footprint + 0.004) + 0.5, 0.0, 1.0)
    end = np.abs(np.mod(at[:, 1] / (width * 6) + shift * 5, 1.0) - 0.5) * width * 6
    seam = np.maximum(seam, np.clip((end - width * 3 + 0.008) / (footprint + 0.004) + 0.5, 0.0, 1.0))
    fade = np.clip(1.5 - footprint / width, 0.3, 1.0)
    return np.asarray(base * ((tint * (1 + 0.14 * grain)) * (1 - 0.65 * seam * fade))[:, None], np.float32)


def _tiles(look: Look, at: Floats, footprint: Floats, size: float) -> Floats:
    cell = np.floor(at / size)
    inside = size / 2 - np.abs(np.mod(at / size, 1.0) - 0.5).max(axis=1) * size
    grout = np.clip((0.009 - inside) / (footprint + 0.004) + 0.5, 0.0, 1.0)
    tint = 1.0 + 0.06 * np.sin(cell[:, 0] * 12.9 + cell[:, 1] * 78.2)
    base = rgb(look.ground) * tint[:, None]
    if look.texture % 2:
        fade = np.clip(2.0 - footprint / size * 2, 0.0, 1.0)
        odd = np.mod(cell.sum(axis=1), 2.0)
        base = _blend(base.astype(np.float32), rgb(look.accent), odd * fade + 0.5 * (1 - fade))
    fade = np.clip(1.5 - footprint / size, 0.2, 1.0)
    return _blend(base.astype(np.float32), rgb((0.30, 0.29, 0.27)), grout * fade)


def walls(look: Look, around: Surroundings, footprint: Floats) -> Floats:
    """Return (N, 3) albedo of walls and ceiling for rays with `wall` >= 0 (rows of `around` already selected)."""
    yaw = np.radians(look.yaw_deg)
    turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]], np.float32)
    flat = around.points[:, :2] @ turn.T
    along = np.where(around.wall < 2, flat[:, 1], flat[:, 0])
    height = around.points[:, 2]
    ceiling = rgb((0.72, 0.71, 0.68))
    if look.scene == "room":
        tall, long = 0.085 * look.scale, 0.24 * look.scale
        row = np.floor(height / tall)
        x = along / long + 0.5 * np.mod(row, 2.0)
        brick = np.floor(x)
        tint = 1.0 + 0.28 * np.sin(row * 12.9 + brick * 78.2 + look.texture)
        rough = noise.fractal(np.stack([along, height], axis=-1).astype(np.float32), 25.0, 2, footprint, look.texture)
        body = rgb(look.accent) * (tint * (1 + 0.12 * rough))[:, None]
        gap_x = long / 2 - np.abs(np.mod(x, 1.0) - 0.5) * long
        gap_z = tall / 2 - np.abs(np.mod(height / tall, 1.0) - 0.5) * tall
        mortar = np.clip((0.007 - np.minimum(gap_x, gap_z)) / (footprint + 0.004) + 0.5, 0.0, 1.0)
        mortar *= np.clip(1.8 - footprint / tall * 1.5, 0.25, 1.0)
        colour = _blend(body.astype(np.float32), rgb((0.52, 0.48, 0.44)), mortar)
    else:
        rough = noise.fractal(np.stack([along, height], axis=-1).astype(np.float32), 4.0, 2, footprint, look.texture)
        colour = rgb(look.accent) * (1 + 0.03 * rough)[:, None]
    return np.asarray(np.where((around.wall == 4)[:, None], ceiling, colour), np.float32)
