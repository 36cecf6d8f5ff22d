"""The REST side of the web API: one module per kind of row, and how an answer goes out."""
