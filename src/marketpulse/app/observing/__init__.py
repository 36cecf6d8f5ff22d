"""What the whole pipeline says of itself: every process's metrics, as one picture, and what is wrong in words."""

from marketpulse.app.observing.observer import Observer

__all__ = ["Observer"]
