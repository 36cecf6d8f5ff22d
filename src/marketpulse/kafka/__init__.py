"""The log: the embedded broker, topics, the codec between bytes and batches, producers and consumers."""
