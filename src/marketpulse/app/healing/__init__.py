"""Trades that came too late for the correction window, from the lake back into the log (docs/semantics.md, 11)."""
