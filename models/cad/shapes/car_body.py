"""The two surfaces of a car: its lower body with wheel arches, and the greenhouse of glass over it. Metres; nose at -y."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.cad.shapes.solid import Points, Solid, flat, loft, shell
from models.cad.shapes.wheels import arch_height, arch_stations


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
    line: Points = (
        (1 + 2 * f) * (1 - f) ** 2 * v[i]
        + f * (1 - f) ** 2 * width * slope[i]
        + f**2 * (3 - 2 * f) * v[i + 1]
        + f**2 * (f - 1) * width * slope[i + 1]
    )
    return line


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

    def core(self) -> Solid:
        """The dark inner block that shows in the wheel arches."""
        y = np.linspace(-0.45, 0.45, 7) * self.length
        inner, z0 = 0.62 * self.half, self.sill + 0.02
        high = np.minimum(self.belt - 0.25, self.upper(y) - 0.12)
        return loft([[(-inner, v, z0), (inner, v, z0), (inner, v, z1), (-inner, v, z1)] for v, z1 in zip(y, high)])

    def solid(self) -> Solid:
        """The closed painted body."""
        ends = np.array([0, 0.004, 0.014, 0.03, 0.05])
        y = (np.unique(np.concatenate([ends, np.linspace(0.08, 0.92, 15), 1 - ends])) - 0.5) * self.length
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


def arch_trim(body: Body, centre: float) -> Solid:
    """A dark lip round the wheel arch over the axle at y = `centre`, on both sides."""
    a = np.linspace(0.02, np.pi - 0.02, 13)
    grid = []
    for r in (body.arch - 0.004, body.arch + 0.05):
        y, z = centre + r * np.cos(a), body.axle + r * np.sin(a)
        grid.append(np.stack([body.side(y, z), y, z], axis=-1))
    return shell(np.array(grid), -0.012, -0.03).both_sides()
