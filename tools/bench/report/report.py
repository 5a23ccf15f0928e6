"""The results of the bench: a table for people, and a document for programs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.bench.report.figures import KEYS, Figure

TITLES = ("", "measure", "figure", "target", "")

# Below this, decimals are significant.
_WHOLE_FROM = 100


def rows(figures: Mapping[str, float]) -> list[list[str]]:
    """Return the rows of the table, in the order of the measures."""
    return [
        [
            figure.measure,
            figure.title,
            shown(figures[key], figure.unit),
            _target(figure),
            _verdict(figure, figures[key]),
        ]
        for key, figure in KEYS.items()
        if key in figures
    ]


def others(figures: Mapping[str, float]) -> list[list[str]]:
    """Return the rows of all other figures, such as those of the peers."""
    return [[key.replace("_", " "), shown(value, "")] for key, value in figures.items() if key not in KEYS]


def shown(value: float, unit: str) -> str:
    """Format a figure for people."""
    number = f"{value:,.0f}" if abs(value) >= _WHOLE_FROM else f"{value:.2f}"
    return f"{number} {unit}".rstrip()


def write(file: Path, document: Mapping[str, Any]) -> None:
    """Write the document: the figures at its top level, the rest under `machine`, `versions`, `settings` and `runs`."""
    file.write_text(json.dumps(_rounded(document), indent=2) + "\n", "utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{'at least' if figure.better == 'more' else 'at most'} {figure.target:g} {figure.unit}".rstrip()


def _verdict(figure: Figure, value: float) -> str:
    return {None: "", True: "reached", False: "missed"}[figure.reached(value)]
