"""What a notebook gets: stored and live frames, and charts."""

from marketpulse.app.notebook.frames import live, sql, stored
from marketpulse.app.notebook.pictures import chart

__all__ = ["chart", "live", "sql", "stored"]
