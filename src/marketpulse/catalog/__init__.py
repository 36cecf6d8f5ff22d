"""The lake's tables in Apache Iceberg, as the room that writes them and the room that reads them both need them.

    catalogue (SQLite, REST, Glue) -> table -> snapshot, with the offsets that it holds -> data files, with their bounds

The library is imported by the first call that needs it (0.6 s), so that what never touches the lake starts without.
"""

from marketpulse.catalog.lake import Lake, open_lake
from marketpulse.catalog.offsets import Offsets
from marketpulse.catalog.visible import Picture, StoredFile, VisibleFiles, open_visible

__all__ = ["Lake", "Offsets", "Picture", "StoredFile", "VisibleFiles", "open_lake", "open_visible"]
