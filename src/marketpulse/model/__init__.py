"""What flows through the pipeline: rows, batches, timeframes, sessions. No behaviour beyond that."""
