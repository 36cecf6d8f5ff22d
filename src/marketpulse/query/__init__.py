"""SQL over what is stored."""
