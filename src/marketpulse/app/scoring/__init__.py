"""How good each source is, by what stands in the log and by what its process says of itself (docs/scorecard.md)."""
