"""Trades that came too late for the correction window, from the lake back into the log (docs/semantics.md, 11)."""

REASONS = ("too_late", "unknown_trade")
"""Of rows that can be healed: a change behind the window does not find its trade there any more."""
