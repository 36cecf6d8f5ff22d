"""Where market data comes from: files, simulators, foreign topics. One file each, over shared readers."""
