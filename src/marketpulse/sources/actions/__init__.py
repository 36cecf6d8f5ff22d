"""Splits and dividends that vendors tell: asked for once a day, each written once."""
