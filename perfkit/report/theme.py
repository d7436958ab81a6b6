"""How a report looks: one palette for light and dark, and SVG that takes its colours from the page.

A figure is drawn once, yet must be readable on white paper and on a dark screen. So nothing is drawn in a
real colour: each role (ink, grid, a series, a step of the ramp) has a sentinel colour that occurs nowhere
else, and in the finished SVG every sentinel becomes `var(--role, fallback)`. The page defines the variables
for light and dark; the fallback is the light colour, so a figure also stands alone in a notebook.

The series colours keep their order under the common kinds of colour blindness (after Okabe and Ito,
"Color Universal Design", 2008) and every series has a marker of its own, for readers in greyscale.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

__all__ = [
    "DARK",
    "LIGHT",
    "RAMP_STEPS",
    "colour",
    "contrast",
    "css_variables",
    "drawing",
    "marker",
    "svg_of",
]

RAMP_STEPS = 7
"""How many steps the ramp of the heat map has, from worst to best."""

_SERIES = 4


def _ramp(first: str, last: str) -> dict[str, str]:
    """Steps from one colour to another, each with whichever of black and white reads better on it."""
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (first, last)]
    palette = {}
    for step in range(RAMP_STEPS):
        share = step / (RAMP_STEPS - 1)
        tone = "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(*ends, strict=True))
        palette[f"ramp-{step}"] = tone
        palette[f"on-ramp-{step}"] = max("#000000", "#ffffff", key=lambda ink: contrast(ink, tone))
    return palette


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two `#rrggbb` colours, 1 to 21 (WCAG 2.2, "relative luminance").

    >>> round(contrast("#000000", "#ffffff"))
    21
    """
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(tone: str) -> float:
    shares = (int(tone[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


LIGHT: Mapping[str, str] = {
    "page": "#fdfdfb", "panel": "#f4f4f0", "ink": "#1c2024", "quiet": "#59616b", "line": "#d9dad5",
    "good": "#17663a", "bad": "#a3321c", "doubt": "#7a5200",
    "baseline": "#4f5965", "noise": "#7c8590",
    "series-0": "#0a66a8", "series-1": "#b5510d", "series-2": "#0b7a5c", "series-3": "#8a4a98",
    **_ramp("#edf1f2", "#0d5675"),
}  # fmt: skip
"""The roles of colour by day."""

DARK: Mapping[str, str] = {
    "page": "#15181b", "panel": "#1d2125", "ink": "#e6e8ea", "quiet": "#a3abb4", "line": "#363c42",
    "good": "#6fce96", "bad": "#ff9d87", "doubt": "#e6b85c",
    "baseline": "#b4bdc7", "noise": "#8b949e",
    "series-0": "#6db8f2", "series-1": "#f0a063", "series-2": "#5fcfae", "series-3": "#d3a4e3",
    **_ramp("#22292e", "#8fd3ee"),
}  # fmt: skip
"""The same roles by night."""

_SENTINELS = {role: f"#0101{number:02x}" for number, role in enumerate(LIGHT)}
_MARKERS = ("s", "^", "v", "P", "X", "<", ">")


def colour(role: str) -> str:
    """Return the sentinel to draw a role with; it becomes a variable of the page in `svg_of`."""
    return _SENTINELS[role]


def marker(number: int) -> tuple[str, str]:
    """Return the sentinel colour and the marker of the finalist of that number, counted from 0."""
    return colour(f"series-{number % _SERIES}"), _MARKERS[number % len(_MARKERS)]


def css_variables(palette: Mapping[str, str]) -> str:
    """Return a palette as CSS custom properties."""
    return " ".join(f"--{role}: {tone};" for role, tone in palette.items())


@contextmanager
def drawing() -> Iterator[None]:
    """Give matplotlib the report's settings, whatever the user's own are, until the block ends."""
    import matplotlib

    quiet, line, ink = colour("quiet"), colour("line"), colour("ink")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "perfkit",
                "text.parse_math": False,  # a dollar sign in an arm's name is a dollar sign
                "font.size": 10,
                "text.color": ink,
                "axes.labelcolor": quiet,
                "axes.edgecolor": line,
                "axes.facecolor": "none",
                "axes.grid": True,
                "axes.axisbelow": True,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "figure.facecolor": "none",
                "figure.constrained_layout.use": True,
                "grid.color": line,
                "grid.linewidth": 0.6,
                "legend.frameon": False,
                "lines.markersize": 5.5,
                "patch.edgecolor": ink,
                "xtick.color": line,
                "ytick.color": line,
                "xtick.labelcolor": quiet,
                "ytick.labelcolor": ink,
            }
        )
        yield


def svg_of(canvas: Canvas, *, prefix: str, title: str, description: str) -> str:
    """Return a drawn figure as an `<svg>` to put into a page: the same bytes for the same drawing.

    Ids get the prefix, since matplotlib gives the same ones to every figure; those nothing refers to go.
    """
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r"\s*\n\s*", " ", drawn)
    drawn = re.sub(r"> <", "><", drawn)
    drawn = _with_page_fonts(_with_page_colours(_with_prefix(drawn, prefix)))
    box = re.search(r'viewBox="[^"]*"', drawn)
    assert box is not None  # noqa: S101  # matplotlib always writes one
    label = f"{prefix}-title {prefix}-desc"
    head = (
        f'<svg {box.group()} role="img" aria-labelledby="{label}">'
        f'<title id="{prefix}-title">{html.escape(title)}</title>'
        f'<desc id="{prefix}-desc">{html.escape(description)}</desc>'
    )
    return head + drawn[drawn.index(">") + 1 :].strip()


def _with_prefix(drawn: str, prefix: str) -> str:
    """Number the ids that something refers to, in the order they come.

    Matplotlib makes them of hashes of coordinates, in whose last bit its layout is not the same each time.
    """
    used = set(re.findall(r'href="#([^"]+)"', drawn)) | set(re.findall(r"url\(#([^)]+)\)", drawn))
    given = [name for name in re.findall(r' id="([^"]+)"', drawn) if name in used]
    new = {name: f"{prefix}-{number}" for number, name in enumerate(dict.fromkeys(given), 1)}
    drawn = re.sub(r' id="([^"]+)"', lambda m: f' id="{new[m[1]]}"' if m[1] in new else "", drawn)
    drawn = re.sub(r'(?:xlink:)?href="#([^"]+)"', lambda m: f'href="#{new.get(m[1], m[1])}"', drawn)
    return re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{new.get(m[1], m[1])})", drawn)


def _with_page_colours(drawn: str) -> str:
    for role, sentinel in _SENTINELS.items():
        drawn = drawn.replace(sentinel, "currentColor" if role == "ink" else f"var(--{role}, {LIGHT[role]})")
    return drawn


def _with_page_fonts(drawn: str) -> str:
    """Keep size and weight of a text; its family is the page's."""
    return re.sub(r"font: (?:(\d+|bold) )?([\d.]+px)[^;\"]*", _font, drawn)


def _font(found: re.Match[str]) -> str:
    weight = f"; font-weight: {found[1]}" if found[1] else ""
    return f"font-size: {found[2]}{weight}"
