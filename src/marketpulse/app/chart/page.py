"""A picture as a page of one file: the drawing, and a few lines of script that tell the bar under the pointer."""

import html
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from marketpulse.app.chart.colours import COLOURS

if TYPE_CHECKING:
    from marketpulse.app.chart.picture import Picture

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
  :root {{ color-scheme: {theme}; }}
  body {{ margin: 0; background: {panel}; color: {text}; font: 13px/1.5 ui-sans-serif, system-ui, sans-serif; font-variant-numeric: tabular-nums; }}
  main {{ position: relative; max-width: {width}px; margin: 0 auto; }}
  svg {{ display: block; width: 100%; height: auto; }}
  figure {{ position: relative; margin: 0; }}
  #rule {{ position: absolute; top: {top}%; bottom: {bottom}%; width: 0; border-left: 1px dashed {faint}; pointer-events: none; }}
  #bar {{ min-height: 3em; padding: 4px 14px 14px; color: {soft}; }}
  #bar b {{ margin: 0 10px 0 3px; color: {text}; font-weight: 550; }}
  main:focus-visible {{ outline: 2px solid {accent}; }}
</style>
<main tabindex="0" aria-label="{label}. Arrow keys go from bar to bar.">
<figure>
{svg}
<div id="rule" hidden></div>
</figure>
<p id="bar" role="status">{hint}</p>
</main>
<script type="application/json" id="data">{data}</script>
<script>
  const {{ names, rows, left, right, span }} = JSON.parse(document.getElementById("data").textContent);
  const [main, rule, bar] = [document.querySelector("main"), document.getElementById("rule"), document.getElementById("bar")];
  const svg = document.querySelector("svg");
  let at = rows.length;
  function tell(i) {{
    at = Math.max(0, Math.min(rows.length - 1, i));
    rule.hidden = false;
    rule.style.left = 100 * (left + (right - left) * (at - span[0]) / (span[1] - span[0])) + "%";
    bar.replaceChildren(...names.flatMap((name, j) => {{
      if (rows[at][j] === null) return [];
      const value = document.createElement("b");
      value.textContent = rows[at][j];
      return [name, value];
    }}));
  }}
  main.addEventListener("pointermove", (event) => {{
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    tell(Math.round(span[0] + (span[1] - span[0]) * (x - left) / (right - left)));
  }});
  main.addEventListener("keydown", (event) => {{
    const step = {{ ArrowLeft: -1, ArrowRight: 1 }}[event.key];
    if (step) {{ event.preventDefault(); tell(at + step); }}
  }});
</script>
</html>
"""


def page_of(picture: "Picture") -> str:
    """The page. All that comes from data is escaped."""
    from marketpulse.app.chart.drawing import BOTTOM, LEFT, RIGHT, TOP, decimals_of

    look, colours = picture.look, COLOURS[picture.look.theme]
    low, high = picture.figure.axes[0].get_xlim()
    table, closes = picture.table, picture.table.column("close").to_numpy(zero_copy_only=False)
    decimals = decimals_of(closes)
    labels = [line.column for group in picture.groups for line in group.lines]
    names = ["open", "high", "low", "close", *(["volume"] if "volume" in table.column_names else []), *labels]
    columns = [[_number(value, decimals) for value in table.column(name).to_pylist()] for name in names]
    times = [
        datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")
        for ns in table.column("open_time_ns").to_pylist()
    ]
    data = {
        "names": ["", *names], "rows": [list(row) for row in zip(times, *columns, strict=True)],
        "left": LEFT / look.width, "right": 1 - RIGHT / look.width, "span": [low, high],
    }  # fmt: skip
    title = f"{picture.symbol} {picture.timeframe}"
    return _PAGE.format(
        title=html.escape(title), label=html.escape(f"Chart of {title}"), theme=look.theme, panel=colours.panel,
        text=colours.text, soft=colours.text_soft, faint=colours.text_faint, accent=colours.series[5], width=look.width,
        top=f"{100 * TOP / look.height:.2f}", bottom=f"{100 * BOTTOM / look.height:.2f}",
        svg=picture.svg(), hint="Move over the chart to read a bar.",
        data=json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
    )  # fmt: skip


def _number(value: float | None, decimals: int) -> str | None:
    if value is None or value != value:
        return None
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1_000 else f"{value:,.{decimals}f}"
