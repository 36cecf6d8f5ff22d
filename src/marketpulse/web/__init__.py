"""The API and the built pages."""
