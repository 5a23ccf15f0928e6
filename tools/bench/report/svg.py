"""Line charts as SVG, for a few series over a few points on the horizontal axis."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 40, 70
_COLOURS = ("#1f6feb", "#d29922", "#2da44e", "#cf222e")
_TICKS = 5


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: The title above the chart.
        across: The label of the horizontal axis.
        up: The label of the vertical axis, which begins at 0.
        places: The values on the horizontal axis, evenly spaced whatever their values.
        series: For each name a value at each place.
    """

    title: str
    across: str
    up: str
    places: Sequence[float]
    series: Mapping[str, Sequence[float]]


def draw(chart: Chart) -> str:
    """Draw a chart.

    Raises:
        ValueError: The chart is empty, or a series lacks a value at some place.
    """
    if not chart.places or not chart.series:
        raise ValueError("a chart needs places and series")
    for name, values in chart.series.items():
        if len(values) != len(chart.places):
            raise ValueError(f"{name} has {len(values)} values at {len(chart.places)} places")
    step = _step(max(max(values) for values in chart.series.values()))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{escape(chart.title)}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_WIDTH / 2, 22, chart.title, size=15),
        *_grid(chart, step),
        *(part for number, name in enumerate(chart.series) for part in _line(chart, name, number, step)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _step(largest: float) -> float:
    """Return the distance of grid lines: 1, 2 or 5 times a power of ten, so that a few of them reach the maximum."""
    raw = max(largest, 1e-9) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))


def _x(chart: Chart, number: int) -> float:
    width = _WIDTH - _LEFT - _RIGHT
    return _LEFT + width * (number + 0.5) / len(chart.places)


def _y(value: float, step: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / (step * _TICKS)


def _grid(chart: Chart, step: float) -> list[str]:
    parts = []
    for number in range(_TICKS + 1):
        y = _y(number * step, step)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#d8dee4"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{number * step:,.10g}", anchor="end"))
    for number, place in enumerate(chart.places):
        parts.append(_text(_x(chart, number), _HEIGHT - _BOTTOM + 18, f"{place:,.10g}"))
    parts.append(_text(_WIDTH / 2, _HEIGHT - _BOTTOM + 38, chart.across))
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text x="16" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 16 {middle:.1f})">'
        f"{escape(chart.up)}</text>"
    )
    return parts


def _line(chart: Chart, name: str, number: int, step: float) -> list[str]:
    colour = _COLOURS[number % len(_COLOURS)]
    points = [(_x(chart, place), _y(value, step)) for place, value in enumerate(chart.series[name])]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    at = _LEFT + number * (_WIDTH - _LEFT - _RIGHT) / len(chart.series)
    return [
        f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points),
        f'<rect x="{at:.1f}" y="{_HEIGHT - 18}" width="10" height="10" fill="{colour}"/>',
        _text(at + 16, _HEIGHT - 9, name, anchor="start"),
    ]


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
