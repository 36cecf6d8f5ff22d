"""Faults by seed: a schedule of kills, outages and damage against a running pipeline, and the proof that no row is lost or doubled."""
