"""publish.lua: its text, its SHA, its keys and arguments (see docs/PUBLISHING.md)."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

import redis.exceptions as rx

from .errors import Refused, ThreadcastError, Unavailable

with open(os.path.join(os.path.dirname(__file__), "publish.lua"), "rb") as _file:
    TEXT: bytes = _file.read()
SHA: str = hashlib.sha1(TEXT).hexdigest()


@dataclass(frozen=True)
class Limits:
    """How much of a thread Redis keeps. The same for all publishers of a thread."""

    max_events: int = 20_000
    max_bytes: int = 16 * 1024 * 1024
    ttl_s: int = 86_400

    def __post_init__(self) -> None:
        for name in ("max_events", "max_bytes", "ttl_s"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError("%s is a whole number from 1" % name)


@dataclass(frozen=True)
class Place:
    """Where a thread's events go."""

    thread: str
    prefix: str
    limits: Limits

    def key(self, name: str) -> str:
        return "%s{thread:%s}:%s" % (self.prefix, self.thread, name)

    @property
    def channel(self) -> str:
        return "%sthread:%s" % (self.prefix, self.thread)


@dataclass
class Call:
    """One call of the script: never changed, so that it can be sent again."""

    place: Place
    mode: str
    run: str
    attempt: int
    number: int
    worker: str
    events: Sequence[bytes]
    once: Optional[str] = None
    terminal: Optional[bytes] = None  # the last of `events`, when it ends the run
    tries: int = 0

    @property
    def begins(self) -> bool:
        return self.mode in ("begin", "beginend")

    @property
    def ends(self) -> bool:
        return self.mode in ("end", "beginend")

    def command(self, redis_run_id: str) -> Tuple[Any, ...]:
        place, limits = self.place, self.place.limits
        keys: List[str] = [place.key("log"), place.key("state")]
        if self.once:
            keys.append(place.key("once:" + self.once))
        return ("EVALSHA", SHA, len(keys), *keys, "1", self.mode, place.channel,
                limits.max_events, limits.max_bytes, limits.ttl_s, redis_run_id, self.run,
                self.attempt, self.number, self.worker, *self.events)


def words(reply: Any) -> List[str]:
    return [w.decode() if isinstance(w, bytes) else str(w) for w in reply]


def hello(info: Any) -> str:
    """The run_id from INFO server; Refused when this Redis is too old."""
    text = info.decode() if isinstance(info, bytes) else str(info)
    found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    version = found.get("redis_version", "0")
    if int(re.match(r"\d*", version).group() or 0) < 7:  # type: ignore[union-attr]
        raise Refused("Redis 7.0 or newer is needed, this is %s" % version)
    return found["run_id"].strip()


# Refusals that pass: a restart, a failover, a full memory or disk.
_PASSING = re.compile(r"OOM|MISCONF|NOREPLICAS|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|"
                      r"LOADING|BUSY|max number of clients|used memory > 'maxmemory'")


def passes(error: BaseException) -> bool:
    """Is it worth sending the same call again later?"""
    if isinstance(error, (rx.AuthenticationError, rx.AuthorizationError)):
        return False
    if isinstance(error, (rx.ReadOnlyError, rx.BusyLoadingError, rx.MasterDownError,
                          rx.TryAgainError, rx.ClusterDownError)):
        return True
    if isinstance(error, rx.ResponseError):
        return bool(_PASSING.match(str(error)) or "maxmemory" in str(error))
    return isinstance(error, (rx.ConnectionError, rx.TimeoutError, OSError, EOFError))


def lasting(error: BaseException) -> ThreadcastError:
    text = str(error)
    if isinstance(error, rx.NoPermissionError):
        text = "NOPERM " + text
    return Refused(text)


def gave_up(error: BaseException, seconds: float) -> ThreadcastError:
    return Unavailable("no answer from Redis for %g s: %s" % (seconds, error))
