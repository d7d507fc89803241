"""Bars, as SVG: a group a case, a bar an entry, its number at its end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

WIDTH, LABEL, VALUE = 760, 190, 110  # of the picture, of the names, of the numbers; pixels
BAR, GAP, TITLE, MARGIN = 16, 14, 24, 14
COLOURS = ("#1f6feb", "#8c959f", "#6e7781", "#afb8c1", "#57606a", "#d0d7de", "#424a53")
FONT = 'font-family="system-ui, sans-serif" font-size="12"'


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar."""

    name: str
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Bars that are compared."""

    title: str
    bars: tuple[Bar, ...]


def bars(title: str, groups: list[Group], *, is_logarithmic: bool = False) -> str:
    """A picture; each group has a scale of its own, from 0, or all have one logarithmic one."""
    parts, y = [_text(MARGIN, MARGIN + 12, title, weight="bold")], MARGIN + TITLE
    everything = [bar.value for group in groups for bar in group.bars]
    for group in groups:
        parts.append(_text(MARGIN, y + 12, group.title))
        y += TITLE
        values = everything if is_logarithmic else [bar.value for bar in group.bars]
        for n, bar in enumerate(group.bars):
            length = _length(bar.value, values, is_logarithmic=is_logarithmic)
            parts += _bar(bar, y, length, COLOURS[n % len(COLOURS)])
            y += BAR + 2
        y += GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" '
        f'aria-label="{escape(title)}">\n'
        f'<rect width="{WIDTH}" height="{y}" rx="6" fill="#ffffff"/>\n' + "\n".join(parts)
    ) + "\n</svg>\n"


def _length(value: float, among: list[float], *, is_logarithmic: bool) -> float:
    room = WIDTH - LABEL - VALUE - 2 * MARGIN
    if not is_logarithmic:
        return room * value / max(among)
    low, high = math.log10(min(among) / 2), math.log10(max(among))
    return room * (math.log10(value) - low) / max(high - low, 1e-9)


def _bar(bar: Bar, y: int, length: float, colour: str) -> list[str]:
    start = MARGIN + LABEL
    return [
        _text(start - 8, y + 12, bar.name, anchor="end"),
        f'<rect x="{start}" y="{y}" width="{max(length, 1):.1f}" height="{BAR}" fill="{colour}"/>',
        _text(start + max(length, 1) + 6, y + 12, bar.text),
    ]


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" {FONT} fill="#1f2328" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )
