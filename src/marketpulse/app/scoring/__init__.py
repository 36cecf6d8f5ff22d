"""How good each source is: figures from the log and from its process (docs/page.md#source-scorecard)."""
