"""Receipts: every stored value again from the log, explained one by one and compared in bulk.

log or lake -> replay (the engine's own operators) -> rows -> compare -> the same bits, or where not
"""
