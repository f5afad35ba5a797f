"""Bytes of an event stream, cut anywhere, into blocks. As the HTML standard says, with one
addition: comments are told too, because one of them is the bridge's sign of life."""

from __future__ import annotations

import codecs
import re
from typing import Iterator, List, NamedTuple, Optional

from .errors import ThreadcastError

# An event has 256 KiB at most; a stream that brings more is not one of ours.
BLOCK_MAX_CHARS = 1 << 20
_LINE_END = re.compile("\r\n|\n|\r")


class Block(NamedTuple):
    """What stood before one blank line, or one comment."""

    event: str  # "": it has no name
    data: str
    id: str  # the last that was given, by this block or one before
    comment: Optional[str] = None


class Parser:
    def __init__(self) -> None:
        self.retry_ms: Optional[int] = None  # the last that was said
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._after_cr = False
        self._event = self._id = ""
        self._data: List[str] = []
        self._size = 0

    def push(self, data: bytes) -> Iterator[Block]:
        chunk = self._decoder.decode(data)
        if self._after_cr and chunk.startswith("\n"):
            chunk = chunk[1:]
        if chunk:
            self._after_cr = chunk.endswith("\r")
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        for line in lines:
            block = self._line(line)
            if block:
                yield block
        if self._size + len(self._rest) > BLOCK_MAX_CHARS:
            raise ThreadcastError("more than %d characters and no end: this is no event"
                                  % BLOCK_MAX_CHARS)

    def _line(self, line: str) -> Optional[Block]:
        if not line:
            block = Block(self._event, "\n".join(self._data), self._id) if self._data else None
            self._event, self._data, self._size = "", [], 0
            return block
        name, _, value = line.partition(":")
        if not name:
            return Block("", "", "", comment=value)
        value = value[1:] if value.startswith(" ") else value
        self._size += len(line)
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and re.match(r"[0-9]{1,9}\Z", value):
            self.retry_ms = int(value)
        return None
