"""Selecting, from the sources that can bring the same symbols, the one that feeds each symbol's bars."""
