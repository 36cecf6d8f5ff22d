"""Where batches come to rest: one file each, one conformance suite over all."""
