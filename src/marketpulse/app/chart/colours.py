"""The page's colours (ui/src/style/tokens.css), for pictures. A test holds both together."""

from dataclasses import dataclass
from typing import Literal

Theme = Literal["dark", "light"]
RGBA = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Colours:
    """By their names there. `volume_up`, `volume_down` and `band` let through what lies under them."""

    panel: str
    grid: str
    line_strong: str
    text: str
    text_soft: str
    text_faint: str
    up: str
    down: str
    volume_up: RGBA
    volume_down: RGBA
    band: RGBA
    series: tuple[str, ...]


def _rgba(red: int, green: int, blue: int, percent: int) -> RGBA:
    return red / 255, green / 255, blue / 255, percent / 100


COLOURS: dict[Theme, Colours] = {
    "dark": Colours(
        "#0f131b", "#151b25", "#2c3646", "#e8ecf3", "#a3aec0", "#8390a5", "#3fc1cd", "#ff8f66",
        _rgba(63, 193, 205, 38), _rgba(255, 143, 102, 38), _rgba(125, 150, 200, 7),
        ("#f0b84b", "#b39bff", "#f58ac4", "#8ea6d4", "#a6d96a", "#6cb6ff"),
    ),
    "light": Colours(
        "#ffffff", "#f0f2f6", "#cdd4df", "#10151f", "#475467", "#5d6a7e", "#007584", "#bd4413",
        _rgba(0, 117, 132, 30), _rgba(189, 68, 19, 30), _rgba(70, 100, 160, 6),
        ("#966100", "#6b4fd8", "#b8327f", "#5a6f9c", "#4c7d14", "#1567d3"),
    ),
}  # fmt: skip
