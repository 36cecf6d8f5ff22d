"""A vendor's key: sent with each request, and in nothing that anybody reads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Key:
    """The key, and where the vendor wants it: as a parameter of the URL, or in a header (`scheme` before it)."""

    value: SecretStr
    parameter: str | None = None
    header: str | None = None
    scheme: str = ""

    def parameters(self) -> dict[str, str]:
        return {self.parameter: self.value.get_secret_value()} if self.parameter else {}

    def headers(self) -> dict[str, str]:
        return {self.header: f"{self.scheme}{self.value.get_secret_value()}"} if self.header else {}


class Veil:
    """Takes keys out of texts, also as they stand in a URL. Vendors like to repeat the key in their messages."""

    def __init__(self, *keys: Key | None) -> None:
        words = set()
        for key in keys:
            if key is not None and (value := key.value.get_secret_value()):
                words |= {value, quote(value, safe=""), quote_plus(value)}
        self._pattern = (
            re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)), re.IGNORECASE)
            if words
            else None
        )

    def text(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)

    def data(self, body: bytes) -> bytes:
        """Bytes of an answer; what is no UTF-8 stays as it is."""
        if self._pattern is None:
            return body
        return self.text(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def frame(self, message: bytes) -> bytes:
        """The same, as long as it was: a binary frame counts its bytes."""
        if self._pattern is None:
            return message
        text = message.decode("utf-8", "surrogateescape")
        return self._pattern.sub(lambda m: "*" * len(m[0].encode()), text).encode("utf-8", "surrogateescape")

    def parameters(self, parameters: Mapping[str, str]) -> str:
        """`a=1&b=2` for people to read."""
        return self.text("&".join(f"{name}={value}" for name, value in parameters.items()))
