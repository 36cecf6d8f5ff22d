"""What a notebook gets: stored and live frames (`frames`), and charts (`pictures`)."""
