"""Pictures have the page's colours."""

import re
from pathlib import Path

import pytest

from marketpulse.app.chart.colours import COLOURS, Theme

TOKENS = Path(__file__).parents[4] / "ui" / "src" / "style" / "tokens.css"


def token(theme: Theme, name: str) -> str:
    block = next(b for b in re.findall(r"\{([^}]*)\}", TOKENS.read_text()) if f"color-scheme: {theme};" in b)
    found = re.search(rf"--{name}: ([^;]+);", block)
    assert found is not None, name
    return found[1]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_each_colour_is_the_pages(theme: Theme) -> None:
    colours = COLOURS[theme]
    for name in ("panel", "grid", "line_strong", "text", "text_soft", "text_faint", "up", "down"):
        assert getattr(colours, name) == token(theme, name.replace("_", "-")), name
    assert list(colours.series) == [token(theme, f"series-{i}") for i in range(1, 7)]
    for name in ("volume_up", "volume_down", "band"):
        red, green, blue, share = (round(v * scale) for v, scale in zip(getattr(colours, name), (255, 255, 255, 100), strict=True))  # fmt: skip
        assert f"rgb({red} {green} {blue} / {share}%)" == token(theme, name.replace("_", "-")), name
