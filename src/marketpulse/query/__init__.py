"""SQL over what is stored."""

from marketpulse.query.duck import LakeQuery
from marketpulse.query.formats import FORMATS, render
from marketpulse.query.recent import RecentRows
from marketpulse.query.views import VIEWS

__all__ = ["FORMATS", "VIEWS", "LakeQuery", "RecentRows", "render"]
