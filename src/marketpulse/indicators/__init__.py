"""Indicators: one file each; `catalogue` gathers their declarations."""
