"""A picture of bars without a server and without a browser: PNG, SVG, or a page of one file."""

from marketpulse.app.chart.picture import Look, Picture
from marketpulse.app.chart.stored import Span, stored_bars, with_indicators

__all__ = ["Look", "Picture", "Span", "stored_bars", "with_indicators"]
