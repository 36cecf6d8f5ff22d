"""SQL over what is stored."""

from marketpulse.query.duck import VIEWS, LakeQuery
from marketpulse.query.formats import FORMATS, render
from marketpulse.query.recent import RecentRows
from marketpulse.query.recent_redis import RecentRowsOfRedis

__all__ = ["FORMATS", "VIEWS", "LakeQuery", "RecentRows", "RecentRowsOfRedis", "render"]
