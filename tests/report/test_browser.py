"""The page in a real browser: it fits a phone, is dark where dark is wished, and asks nobody for anything."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perfkit.report import RunView, render

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is on PATH")

FRAME = """<!doctype html><meta charset="utf-8">
<iframe src="page.html" style="width: {width}px; height: 900px"></iframe>
<script>
addEventListener("load", () => {{
  const page = document.querySelector("iframe").contentDocument, view = page.defaultView;
  const colour = name => view.getComputedStyle(page.body)[name];
  document.body.textContent = JSON.stringify({{
    width: page.documentElement.scrollWidth,
    requests: view.performance.getEntriesByType("resource").length,
    drawings: [...page.querySelectorAll("figure svg")].map(svg => svg.getBoundingClientRect().height),
    background: colour("backgroundColor"), ink: colour("color"),
  }});
}});
</script>
"""


@pytest.fixture
def seen(make_view: Callable[..., RunView], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    (tmp_path / "page.html").write_text(render(make_view()), encoding="utf-8")

    def look(*, width: int = 1_100, dark: bool = False) -> dict[str, Any]:
        (tmp_path / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
        command = [
            str(BROWSER),
            *("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"),
            *("--virtual-time-budget=5000", f"--user-data-dir={tmp_path / 'profile'}"),
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            (tmp_path / "frame.html").as_uri(),
        ]
        printed = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
        found = re.search(r"<body>(\{.*\})</body>", printed, re.DOTALL)
        assert found is not None, printed[-2_000:]
        measured: dict[str, Any] = json.loads(html.unescape(found[1]))
        return measured

    return look


def brightness(colour: str) -> int:
    return sum(int(number) for number in re.findall(r"\d+", colour)[:3])


def test_the_page_asks_for_nothing_and_draws_every_figure(seen: Callable[..., dict[str, Any]]) -> None:
    page = seen()

    assert page["requests"] == 0
    assert len(page["drawings"]) == 6
    assert min(page["drawings"]) > 100


@pytest.mark.parametrize("width", [360, 768])
def test_the_page_never_scrolls_sideways(seen: Callable[..., dict[str, Any]], width: int) -> None:
    """Wide tables and drawings scroll within themselves."""
    assert seen(width=width)["width"] <= width


def test_the_page_is_dark_where_dark_is_wished(seen: Callable[..., dict[str, Any]]) -> None:
    light, dark = seen(), seen(dark=True)

    assert brightness(light["background"]) > 600 > 150 > brightness(light["ink"])
    assert brightness(dark["background"]) < 150 < 600 < brightness(dark["ink"])
