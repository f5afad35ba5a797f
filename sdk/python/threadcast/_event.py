"""Events: names that are allowed, JSON that can be published, limits that hold."""

from __future__ import annotations

import json
import re
from typing import Any, Iterator, Mapping

from .errors import EventTooLarge

EVENT_MAX_BYTES = 256 * 1024
ID_ROOM = 64  # for the id, which publish.lua puts in
TEXT_MAX_BYTES = 32 * 1024  # of one token: escaped six times over it still fits
_MAX_DEPTH = 32
_THREAD = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_PREFIX = re.compile(r"[!-z|~]{0,64}\Z")  # printable, no braces: they are the hash tag


def check_thread(thread: str) -> str:
    if not isinstance(thread, str) or not _THREAD.match(thread):
        raise ValueError("a thread's id is 1 to 128 of A-Z a-z 0-9 . _ -, not %r" % (thread,))
    return thread


def check_name(what: str, name: str) -> str:
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError("%s is 1 to 128 of A-Z a-z 0-9 . _ : -, not %r" % (what, name))
    return name


def check_prefix(prefix: str) -> str:
    if not isinstance(prefix, str) or not _PREFIX.match(prefix):
        raise ValueError("a prefix is up to 64 printable characters without braces")
    return prefix


def clean(text: str) -> str:
    """What UTF-8 and Postgres cannot hold becomes U+FFFD; surrogate pairs are joined."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _cleaned(value: Any, depth: int = 0) -> Any:
    if depth > _MAX_DEPTH - 2:  # the event and its content are levels too
        raise ValueError("content is nested deeper than %d levels" % _MAX_DEPTH)
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(k)): _cleaned(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(v, depth + 1) for v in value]
    return value


def to_json(value: Any) -> str:
    """Compact JSON; ValueError or TypeError for what JSON cannot say."""
    return json.dumps(_cleaned(value), ensure_ascii=False, allow_nan=False,
                      separators=(",", ":"))


def check_size(event: bytes) -> bytes:
    if len(event) + ID_ROOM > EVENT_MAX_BYTES:
        raise EventTooLarge("an event is at most %d bytes of JSON, this one has %d"
                            % (EVENT_MAX_BYTES - ID_ROOM, len(event)))
    return event


def pieces(text: str) -> Iterator[str]:
    """Cuts cleaned text into pieces of at most TEXT_MAX_BYTES, between characters."""
    data = text.encode()
    while len(data) > TEXT_MAX_BYTES:
        cut = TEXT_MAX_BYTES
        while data[cut] & 0xC0 == 0x80:
            cut -= 1
        yield data[:cut].decode()
        data = data[cut:]
    if data:
        yield data.decode()
