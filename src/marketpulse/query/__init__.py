"""SQL over what is stored."""

from marketpulse.query.duck import VIEWS, LakeQuery
from marketpulse.query.formats import FORMATS, render
from marketpulse.query.recent import RecentRows

__all__ = ["FORMATS", "VIEWS", "LakeQuery", "RecentRows", "render"]
