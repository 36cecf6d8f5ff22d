"""The API and the built pages.

feed -> board (what a page may ask for) -> frames (what changed for one page) -> stream (WebSocket)
"""
