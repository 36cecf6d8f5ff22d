"""SQL over what is stored."""

from marketpulse.query.duck import VIEWS, LakeQuery
from marketpulse.query.formats import FORMATS, render

__all__ = ["FORMATS", "VIEWS", "LakeQuery", "render"]
