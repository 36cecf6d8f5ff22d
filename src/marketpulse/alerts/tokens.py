"""The words and signs of an expression, one after the other, and faults that point at their place."""

import re

from marketpulse.errors import ParameterError

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[^\W\d]\w*)|(?P<number>(?:\d|\.\d)[\w.]*(?:(?<=\d[eE])[-+]\d+)?)|(?P<sign><=|>=|==|!=|<>|&&|\|\||\S))"
)


class TextFault(ParameterError):
    """A fault in a text: `problem` in words, at the place `at` of `text`. `where` says which rule, and which of its texts."""

    def __init__(self, where: str, problem: str, text: str, at: int) -> None:
        begin = text.rfind("\n", 0, at) + 1
        line = text[begin:].split("\n", 1)[0].replace("\t", " ")
        super().__init__(f"{where}: {problem}\n  {line}\n  {' ' * (at - begin)}^")
        self.where, self.problem, self.text, self.at = where, problem, text, at


class TokenReader:
    """The text, and the token at which the reader stands. `kind` is `name`, `number`, `sign`, or empty at the end.

    `where` begins each message: which rule, and which of its texts.
    """

    __slots__ = ("_end", "at", "kind", "text", "token", "where")

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self._end = 0
        self._step()

    def _step(self) -> None:
        match = _TOKEN.match(self.text, self._end)
        self.kind = (match.lastgroup or "") if match else ""
        self.token = match[self.kind].lower() if match and self.kind else ""
        self.at = match.start(self.kind) if match and self.kind else len(self.text.rstrip())
        self._end = match.end() if match else len(self.text)

    def advance(self) -> str:
        """The token here, in lower case; the reader goes on to the next."""
        token = self.token
        self._step()
        return token

    def stands_at(self, *tokens: str) -> bool:
        """Whether the token here is one of these words or signs."""
        return self.kind in ("name", "sign") and self.token in tokens

    def take(self, token: str) -> bool:
        """Go past this word or sign, if it stands here."""
        found = self.stands_at(token)
        if found:
            self._step()
        return found

    def fault(self, message: str, at: int | None = None) -> TextFault:
        """The message, the line, and a caret under the place."""
        return TextFault(self.where, message, self.text, self.at if at is None else at)
