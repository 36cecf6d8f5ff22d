"""Files of history into the lake by the engine's own operators, and its end state into the pipeline (docs/backfill.md)."""
