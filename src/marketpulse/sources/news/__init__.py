"""News that vendors tell: asked for in rounds, each written once."""
