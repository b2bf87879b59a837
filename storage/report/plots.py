"""Plots as inline SVG: they follow the page's colours in light and dark, and need no library.

Enters: numbers of a run. Leaves: SVG markup, every text in it escaped, without style attributes and scripts; its colours are the
CSS classes `kept`, `dropped`, `unjudged` and `failed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from markupsafe import Markup, escape

from storage.report.content import STATUSES, Annotation, Status
from storage.report.verdict import in_words

DOTS = 4000
"""At most so many cameras are drawn."""

_FRONT = ((0, 1), (1, 5), (5, 4), (4, 0))  # the edges of the face y = -: the object's front
_REST = ((2, 3), (3, 7), (7, 6), (6, 2), (0, 2), (1, 3), (4, 6), (5, 7))


def hemisphere(poses: Sequence[tuple[float, float, Status, str]], shown: Collection[str]) -> Markup:
    """Return the cameras' directions seen from above: azimuth around, the zenith in the middle, the nadir on the rim.

    Lambert's equal-area projection, so that views that are even on the sphere are even in the plot. Azimuth 0 is at the
    bottom, as the object's front faces -y. Dots of samples that the page shows (`shown`) can be clicked. Of more than DOTS
    poses, every n-th is drawn.
    """
    size, centre, rim = 420, 210.0, 176.0

    def place(azimuth: float, elevation: float) -> tuple[float, float]:
        radius = _radius(rim, elevation)
        return centre + radius * math.sin(math.radians(azimuth)), centre + radius * math.cos(math.radians(azimuth))

    parts: list[Markup] = []
    for elevation in (60.0, 30.0, 0.0, -30.0):
        reach = place(90, elevation)[0] - centre
        kind = "equator" if elevation == 0 else "grid"
        parts.append(Markup('<circle cx="{0}" cy="{0}" r="{1:.1f}" class="{2}"/>').format(centre, reach, kind))
        x, y = place(135, elevation)
        parts.append(_text(x + 2, y - 2, f"{elevation:g}°", "tick"))
    parts.append(Markup('<circle cx="{0}" cy="{0}" r="{1}" class="rim"/>').format(centre, rim))
    for spoke in range(0, 360, 45):
        x, y = place(spoke, -90)
        parts.append(Markup('<line x1="{0}" y1="{0}" x2="{1:.1f}" y2="{2:.1f}" class="grid"/>').format(centre, x, y))
    for side, name in ((0, "front"), (90, "its left"), (180, "rear"), (270, "its right")):
        x, y = centre + (rim + 18) * math.sin(math.radians(side)), centre + (rim + 18) * math.cos(math.radians(side))
        turn = Markup(' transform="rotate({} {:.1f} {:.1f})"').format({90: 90, 270: -90}.get(side, 0), x, y)
        label = f"{name} {side}°"
        parts.append(Markup('<text x="{:.1f}" y="{:.1f}" class="label middle"{}>{}</text>').format(x, y + 4, turn, label))
    # Dropped ones are few: they come last and so lie on top.
    order = {"failed": 0, "unjudged": 1, "kept": 2, "dropped": 3}
    thinned = poses[:: -(-len(poses) // DOTS)] if poses else ()
    radius = 4.2 if len(thinned) < 600 else 2.4
    for azimuth, elevation, status, sample_id in sorted(thinned, key=lambda pose: order[pose[2]]):
        x, y = place(azimuth, elevation)
        if sample_id not in shown:
            parts.append(Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}" class="speck {}"/>').format(x, y, radius, status))
            continue
        parts.append(
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}" class="dot {}" data-sample="{}"><title>{}</title></circle>').format(
                x, y, radius, status, sample_id, f"{sample_id}\n{azimuth:.0f}° around, {elevation:.0f}° up, {in_words(status)}"
            )
        )
    return _svg(size, size, parts, "Cameras' directions, azimuth around and elevation from the middle to the rim", "hemisphere")


RINGS = ((-90.0, 0.0), (0.0, 30.0), (30.0, 60.0), (60.0, 90.0))
"""Elevations of the rings of `drop_rate`, in degrees."""
SECTORS = 12
"""Sectors of each ring, but of the innermost: there azimuths lie close together."""


FEW = 20
"""Fields of fewer judged images say how many of them were dropped, the others which share."""


def drop_rate(judged: Iterable[tuple[float, float, bool]], title: str) -> Markup:
    """Return the share of dropped images by viewpoint: azimuth around, the zenith in the middle, below the horizon on the rim.

    judged: (azimuth, elevation, whether it was dropped) of each judged image. A field's colour is its share, which also
    stands in it; a field without a judged image is empty. Drawn as `hemisphere` is.
    """
    size, centre, rim = 420, 210.0, 176.0
    counts: dict[tuple[int, int], list[int]] = {}
    for azimuth, elevation, dropped in judged:
        ring = next((i for i, (_, high) in enumerate(RINGS) if elevation < high), len(RINGS) - 1)
        # The first sector has the front in its middle.
        sector = int((azimuth + 180.0 / _sectors(ring)) % 360 // (360 / _sectors(ring)))
        field = counts.setdefault((ring, sector), [0, 0])
        field[0] += dropped
        field[1] += 1
    parts: list[Markup] = []
    for ring, (low, high) in enumerate(RINGS):
        step = 360 / _sectors(ring)
        for sector in range(_sectors(ring)):
            start, end = (sector - 0.5) * step, (sector + 0.5) * step
            lost, total = counts.get((ring, sector), (0, 0))
            share = lost / total if total else 0.0
            told = f"{sector * step:.0f}° around, {low:g}° to {high:g}° up: "
            told += f"{lost} of {total} dropped ({share:.0%})" if total else "nothing judged"
            shape = _field(centre, _radius(rim, high), _radius(rim, low), start, end)
            kind = "dropped" if total else "nothing"
            parts.append(
                Markup('<path d="{}" class="field {}" fill-opacity="{:.2f}"><title>{}</title></path>').format(
                    shape, kind, share if total else 0.0, told
                )
            )
            if total:
                middle, reach = math.radians(sector * step), (_radius(rim, low) + _radius(rim, high)) / 2
                x, y = centre + reach * math.sin(middle), centre + reach * math.cos(middle) + 4
                # A share of a few says little, so a few are counted.
                figure = f"{share:.0%}" if total >= FEW else f"{lost} of {total}"
                parts.append(_text(x, y, figure, "field-label middle" + (" strong" if share > 0.55 else "")))
    for side, name in ((0, "front"), (90, "its left"), (180, "rear"), (270, "its right")):
        x, y = centre + (rim + 18) * math.sin(math.radians(side)), centre + (rim + 18) * math.cos(math.radians(side))
        turn = Markup(' transform="rotate({} {:.1f} {:.1f})"').format({90: 90, 270: -90}.get(side, 0), x, y)
        parts.append(
            Markup('<text x="{:.1f}" y="{:.1f}" class="label middle"{}>{}</text>').format(x, y + 4, turn, f"{name} {side}°")
        )
    return _svg(size, size, parts, title, "drop-rate")


def _sectors(ring: int) -> int:
    return 4 if ring == len(RINGS) - 1 else SECTORS


def _radius(rim: float, elevation: float) -> float:
    return rim * math.sqrt(max(0.0, (1 - math.sin(math.radians(elevation))) / 2))


def _field(centre: float, inner: float, outer: float, start: float, end: float) -> str:
    """Return the path of a part of a ring between two azimuths in degrees, azimuth 0 at the bottom."""

    def at(radius: float, azimuth: float) -> str:
        angle = math.radians(azimuth)
        return f"{centre + radius * math.sin(angle):.1f} {centre + radius * math.cos(angle):.1f}"

    far = f"M{at(outer, start)}A{outer:.1f} {outer:.1f} 0 0 0 {at(outer, end)}"
    return f"{far}L{at(inner, end)}A{inner:.1f} {inner:.1f} 0 0 1 {at(inner, start)}Z"


def histogram(
    values: Sequence[tuple[float, Status]],
    *,
    title: str,
    low: float,
    high: float,
    bins: int,
    ticks: Sequence[float],
    unit: str = "",
    thresholds: Sequence[float] = (),
    width: int = 420,
    height: int = 150,
) -> Markup:
    """Return a histogram stacked by status, with a line at each threshold; values outside go into the outer bins."""
    counts: list[dict[str, int]] = [{} for _ in range(bins)]
    for value, status in values:
        place = min(max(int((value - low) / (high - low) * bins), 0), bins - 1)
        counts[place][status] = counts[place].get(status, 0) + 1
    top = max((sum(column.values()) for column in counts), default=0) or 1
    left, right, ceiling, floor = 30.0, width - 10.0, 38.0 if thresholds else 20.0, height - 24.0
    step = (right - left) / bins
    parts: list[Markup] = [_text(left, 12, title, "label")]
    across = _across(low, high, left, right)
    for share in (0.5, 1.0):
        y = floor - (floor - ceiling) * share
        parts.append(Markup('<line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}" class="grid"/>').format(left, right, y, y))
        if share == 1.0 or top % 2 == 0:
            parts.append(_text(left - 5, y + 4, f"{top * share:g}", "tick end"))
    bounds = [low + i * (high - low) / bins for i in range(bins + 1)]
    for i, column in enumerate(counts):
        y = floor
        for status in STATUSES:
            if not column.get(status):
                continue
            bar = (floor - ceiling) * column[status] / top
            y -= bar
            parts.append(
                Markup(
                    '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="bar {}"><title>{}</title></rect>'
                ).format(
                    left + i * step + 0.75,
                    y,
                    step - 1.5,
                    bar,
                    status,
                    f"{bounds[i]:.3g} to {bounds[i + 1]:.3g}{unit}: {column[status]} {in_words(status)}",
                )
            )
    parts.append(Markup('<line x1="{}" x2="{}" y1="{}" y2="{}" class="axis"/>').format(left, right, floor, floor))
    for tick in ticks:
        parts.append(_text(across(tick), height - 8, f"{tick:g}{unit}", "tick middle"))
    for threshold in sorted({threshold for threshold in thresholds if low <= threshold <= high}):
        x = across(threshold)
        parts.append(
            Markup('<line x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}" class="threshold"/>').format(x, ceiling - 16, floor)
        )
        side = "end" if threshold > (low + high) / 2 else ""
        shift = -5 if side else 5
        parts.append(_text(x + shift, ceiling - 7, f"threshold {threshold:.3g}", f"threshold-label {side}"))
    return _svg(width, height, parts, title, "histogram")


def pose_histograms(
    directions: Iterable[tuple[float, float, Status]], distances: Sequence[tuple[float, Status]]
) -> tuple[Markup, Markup, Markup]:
    """Return the histograms of azimuth, elevation and distance, from (azimuth, elevation, status) and (distance, status)."""
    listed = list(directions)
    reach = [distance for distance, _ in distances]
    low, high = (min(reach), max(reach)) if reach else (0.0, 1.0)
    low, high = (low, high) if high - low > 1e-6 else (low - 0.5, high + 0.5)
    around, up = "azimuth: 0 front, 90 its left", "elevation"
    turned = [(azimuth, status) for azimuth, _, status in listed]
    raised = [(elevation, status) for _, elevation, status in listed]
    return (
        histogram(turned, title=around, low=0, high=360, bins=24, ticks=range(0, 361, 90), unit="°"),
        histogram(raised, title=up, low=-90, high=90, bins=24, ticks=range(-90, 91, 45), unit="°"),
        histogram(distances, title="distance, longest side = 1", low=low, high=high, bins=24, ticks=nice_ticks(low, high, 5)),
    )


def score_histogram(scores: Sequence[tuple[float, Status]], thresholds: Sequence[float], title: str) -> Markup:
    """Return a score's values with the thresholds of the rules that look at it, or nothing where the values do not differ."""
    finite = [(score, status) for score, status in scores if math.isfinite(score)]
    if len({score for score, _ in finite}) < 2:
        return Markup("")
    values = sorted(score for score, _ in finite)
    # A few scores far out would squeeze all others into one bin: they go into the outer ones.
    inner = values[int(0.02 * (len(values) - 1))], values[int(0.97 * (len(values) - 1))]
    reach = inner[1] - inner[0]
    ends = [*inner, *(threshold + side * 0.15 * reach for threshold in thresholds for side in (-1, 1))]
    low, high = min(ends), max(ends)
    margin = (high - low) * 0.04 or 0.5
    low, high = low - margin, high + margin
    bins = min(32, max(12, len(finite) // 2))
    ticks = nice_ticks(low, high, 5)
    return histogram(finite, title=title, low=low, high=high, bins=bins, ticks=ticks, thresholds=thresholds, height=200)


def loss_curve(points: Sequence[tuple[float, float]], name: str, width: int = 640, height: int = 220) -> Markup:
    """Return a loss over minutes as SVG, the loss on a logarithmic axis."""
    usable = [(x, y) for x, y in points if y > 0 and math.isfinite(y)]
    left, right, ceiling, floor = 46.0, width - 12.0, 26.0, height - 28.0
    if len(usable) < 2:
        parts = [_text(left, height / 2, "no curve yet: there is one point", "label")]
        return _svg(width, height, parts, f"loss of the {name}", "curve")
    longest = max(x for x, _ in usable) or 1.0
    low, high = (math.log10(f(y for _, y in usable)) for f in (min, max))
    high = max(high, low + 0.05)

    def at(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(y) - low) / (high - low)
        return left + (right - left) * x / longest, floor - (floor - ceiling) * share

    parts = [_text(left, 14, f"loss of the {name} over minutes (logarithmic)", "label")]
    for step in range(5):
        value = 10 ** (low + (high - low) * step / 4)
        _, y = at(0.0, value)
        parts.append(Markup('<line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}" class="grid"/>').format(left, right, y, y))
        parts.append(_text(left - 5, y + 4, f"{value:.3g}", "tick end"))
    for tick in nice_ticks(0.0, longest, 6):
        parts.append(_text(at(tick, 10**low)[0], height - 10, f"{tick:g}", "tick middle"))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in usable))
    parts.append(Markup('<polyline points="{}" class="curve"/>').format(line))
    parts.append(Markup('<line x1="{}" x2="{}" y1="{}" y2="{}" class="axis"/>').format(left, right, floor, floor))
    return _svg(width, height, parts, f"loss of the {name} over minutes", "loss")


def time_bar(seconds: float, longest: float) -> Markup:
    """Return one horizontal bar, as long as its share of the longest."""
    length = 300 * seconds / longest if longest > 0 else 0.0
    bar = Markup('<rect x="0" y="1" width="{:.1f}" height="10" rx="2" class="bar time"/>').format(max(length, 1.0))
    return _svg(300, 12, [bar], f"{seconds:.1f} s", "time-bar")


def share_bar(counts: Mapping[str, int]) -> Markup:
    """Return status -> count as one small bar of shares; nothing without a count."""
    total = sum(counts.values())
    if not total:
        return Markup("")
    parts, x = [], 0.0
    for status in STATUSES:
        length = 120 * counts.get(status, 0) / total
        if length:
            parts.append(Markup('<rect x="{:.1f}" y="0" width="{:.1f}" height="10" class="bar {}"/>').format(x, length, status))
        x += length
    label = ", ".join(f"{counts[status]} {in_words(status)}" for status in STATUSES if counts.get(status))
    return _svg(120, 10, parts, label, "share")


def overlay(annotation: Annotation) -> Markup:
    """Return the annotation drawn for a picture: the 2D box, the projected 3D box with its front marked, the axes.

    Laid over a picture of any size, as the view box is the annotated picture's, whose pixel centres are integers.
    """
    parts: list[Markup] = []
    if annotation.box is not None:
        x0, y0, x1, y1 = annotation.box
        parts.append(
            Markup('<rect class="box2d" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                x0 - 0.5, y0 - 0.5, x1 - x0 + 1, y1 - y0 + 1
            )
        )
    if annotation.box3d is not None and len(annotation.box3d) == 8:
        corners = annotation.box3d
        face = " ".join(f"{corners[i][0]:.1f},{corners[i][1]:.1f}" for i in (0, 1, 5, 4))
        shape = [Markup('<polygon class="front" points="{}"/>').format(face)]
        shape += [_line(corners[a], corners[b], "edge3d") for a, b in _REST]
        shape += [_line(corners[a], corners[b], "edge3d fore") for a, b in _FRONT]
        parts.append(Markup('<g class="box3d">{}</g>').format(Markup("").join(shape)))
    project = _projection(annotation)
    if project is not None:
        origin = project((0.0, 0.0, 0.0))
        ends = {"x": (0.35, 0.0, 0.0), "y": (0.0, 0.35, 0.0), "z": (0.0, 0.0, 0.35)}
        lines = [_line(origin, project(end), f"axis-{name}") for name, end in ends.items()]
        parts.append(Markup('<g class="axes">{}</g>').format(Markup("").join(lines)))
    return Markup(
        '<svg class="overlay" viewBox="-0.5 -0.5 {} {}" preserveAspectRatio="none" aria-hidden="true" focusable="false">{}</svg>'
    ).format(annotation.width, annotation.height, Markup("").join(parts))


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Return round numbers between low and high, about so many."""
    raw = (high - low) / max(about, 1)
    scale = 10 ** math.floor(math.log10(raw))
    step = next(scale * factor for factor in (1, 2, 5, 10) if scale * factor >= raw)
    first = math.ceil(low / step)
    return [round(i * step, 10) for i in range(first, math.floor(high / step) + 1)]


def _projection(annotation: Annotation) -> Callable[[tuple[float, float, float]], tuple[float, float]] | None:
    K, R, t = annotation.K, annotation.R, annotation.t
    if K is None or R is None or t is None:
        return None

    def project(point: tuple[float, float, float]) -> tuple[float, float]:
        x, y, z = (sum(R[i][j] * point[j] for j in range(3)) + t[i] for i in range(3))
        z = max(z, 1e-6)
        return K[0][0] * x / z + K[0][1] * y / z + K[0][2], K[1][1] * y / z + K[1][2]

    return project


def _across(low: float, high: float, left: float, right: float) -> Callable[[float], float]:
    return lambda value: left + (value - low) / (high - low) * (right - left)


def _line(start: tuple[float, float], end: tuple[float, float], kind: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, *start, *end)


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}">{}</text>').format(x, y, kind, text)


def _svg(width: float, height: float, parts: Iterable[Markup], label: str, kind: str) -> Markup:
    return Markup('<svg class="plot {}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        kind, width, height, escape(label), Markup("").join(parts)
    )
