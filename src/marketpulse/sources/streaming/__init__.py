"""Feeds over WebSockets: one file a vendor, over one connection, one check of trade ids, one recorder."""
