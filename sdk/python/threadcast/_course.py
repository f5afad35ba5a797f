"""Course: all of a subscription but sockets and clocks: where the next connection begins,
what an answer means, which events are new, how long to wait.

    connect() ─▶ answered() ─▶ block() … block() ─▶ lost_s() ─▶ wait, and from the start
                     └─ Refused, or the end            └─ the end

Mirrored by course.js of the Node package."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union
from urllib.parse import quote

from ._sse import Block
from .errors import Refused

RETRY_MS = 2000  # until the bridge has said another
BACKOFF_MAX_MS = 30_000
EPOCHS_KEPT = 16  # of one thread
_TRANSIENT = (408, 425, 429)
_LASTING = (501, 505)  # 5xx that will not pass


@dataclass(frozen=True)
class Event:
    """One event, as docs/PROTOCOL.md has it."""

    type: str  # token, status, delta, done, error, or what a bare PUBLISH brought
    content: Any
    id: str  # "" for a bare event, which cannot be resumed
    thread: str
    run_id: str
    message_id: str
    agent_id: str
    attempt: int  # 0: of no run
    again: bool  # it was told before a `reset`, and is told again
    json: Dict[str, Any]  # all of it


@dataclass(frozen=True)
class Notice:
    """What the bridge itself has to say (ready, reset, bye, busy, auth, stalled); and open
    and lost, of a connection."""

    name: str
    data: Dict[str, Any]
    position: str


class _Seen:
    """How far each epoch of each thread has been seen."""

    def __init__(self) -> None:
        self._threads: Dict[str, Dict[str, int]] = {}

    def add(self, thread: str, id: str) -> bool:
        """Was it there already? Notes it."""
        epoch, _, n = id.rpartition("-")
        number = int(n) if n.isdigit() else 0
        epochs = self._threads.setdefault(thread, {})
        if number <= epochs.get(epoch, -1):
            return True
        epochs[epoch] = number
        if len(epochs) > EPOCHS_KEPT:
            del epochs[next(iter(epochs))]
        return False

    def forget(self, thread: Optional[str]) -> None:
        if thread is None:
            self._threads.clear()
        else:
            self._threads.pop(thread, None)


class Course:
    def __init__(self, since: str = "", run: str = "", ticket: str = "") -> None:
        self.position = ""  # where the next connection begins; "": there is none yet
        self.over = False  # nothing will follow
        self.duplicates = 0  # events that came twice and were dropped
        self._since, self._run, self._ticket = since, run, ticket
        self._expires_at = 0.0  # the right to read, as last said on this connection
        self._told = False  # the bridge has said that it will close
        self._failures = 0
        self._retry_ms = RETRY_MS
        self._delivered = _Seen()  # since the last `reset`
        self._known = _Seen()  # ever

    def connect(self) -> Tuple[Dict[str, str], Dict[str, str]]:
        """Headers and query of the next connection."""
        self._told, self._expires_at = False, 0.0
        query = {"ticket": self._ticket} if self._ticket else {}
        if self.position:
            return {"Last-Event-ID": self.position}, query
        return {}, {"since": self._since, **query} if self._since else query

    def extends(self, notice: Notice) -> str:
        """What to lengthen with a fresh token, when this notice asks for it: the name of the
        connection. (Once lengthened, `auth` says so, with a later end.)"""
        connection, end = notice.data.get("connection"), notice.data.get("expiresAt")
        if notice.name != "auth" or notice.data.get("reason") or not (
                isinstance(connection, str) and isinstance(end, (int, float))):
            return ""
        confirms = 0 < self._expires_at < end
        self._expires_at = end
        return "" if confirms else connection

    def answered(self, status: int, body: bytes) -> None:
        """An answer that is no stream: the end, something that passes, or Refused."""
        if status == 204:
            self.over = True
        elif status in _LASTING or status < 500 and status not in _TRANSIENT:
            raise _refusal(status, body)

    def block(self, block: Block, retry_ms: Optional[int]) -> Union[Event, Notice, None]:
        if retry_ms is not None:
            self._retry_ms = retry_ms
        if block.comment is not None:
            if block.comment == "keepalive":
                self._failures = 0
            return None
        self.position = block.id or self.position
        said = _parsed(block.data)
        if block.event:
            return self._notice(block.event, said or {})
        self._failures = 0
        return self._event(said) if said is not None else None

    def _notice(self, name: str, data: Dict[str, Any]) -> Notice:
        if name in ("bye", "busy"):
            self._told = True
        if name != "busy":
            self._failures = 0
        if name == "auth" and self._ticket and isinstance(data.get("ticket"), str):
            self._ticket = data["ticket"]
        if name == "reset":
            self._delivered.forget(data.get("threadId"))
        return Notice(name, data, self.position)

    def _event(self, said: Dict[str, Any]) -> Optional[Event]:
        def text(name: str) -> str:
            value = said.get(name)
            return value if isinstance(value, str) else ""

        id, thread, type = text("id"), text("threadId"), text("type")
        if id and self._delivered.add(thread, id):
            self.duplicates += 1
            return None
        again = bool(id) and self._known.add(thread, id)
        if self._run and text("runId") == self._run and type in ("done", "error"):
            self.over = True
        attempt = said.get("attempt")
        return Event(type, said.get("content"), id, thread, text("runId"), text("messageId"),
                     text("agentId"), attempt if isinstance(attempt, int) else 0, again, said)

    @property
    def failing(self) -> bool:
        """Nothing good has come since the last connection was lost."""
        return self._failures > 0

    def lost_s(self) -> float:
        """The connection is gone, or there was none: how many seconds to wait. All of it is
        drawn, so that readers who were cut together do not come back together."""
        grown: float = min(BACKOFF_MAX_MS, self._retry_ms << min(self._failures, 20))
        self._failures += 1
        return ((self._retry_ms if self._told else 0) + random.random() * grown) / 1000


def _parsed(data: Union[str, bytes]) -> Optional[Dict[str, Any]]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _refusal(status: int, body: bytes) -> Refused:
    said = (_parsed(body) or {}).get("error")
    told = said if isinstance(said, dict) else {}
    code, message = str(told.get("code", "")), str(told.get("message", ""))
    return Refused(" ".join(["the bridge answers %d" % status] +
                            [": ".join(w for w in (code, message) if w)]).strip(),
                   status=status, code=code)


def path_of(thread: Union[str, Sequence[str], None], run: Optional[str],
            merge: bool) -> Tuple[str, List[Tuple[str, str]]]:
    """Path and query of a subscription."""
    if (thread is None) == (run is None):
        raise ValueError("one of `thread` and `run` is needed")
    query = [] if merge else [("merge", "0")]
    if run is not None:
        return "/v1/runs/%s/events" % quote(run, safe=""), query
    if isinstance(thread, str):
        return "/v1/threads/%s/events" % quote(thread, safe=""), query
    assert thread is not None
    return "/v1/events", [("thread", t) for t in thread] + query


def is_stream(status: int, headers: Mapping[str, str]) -> bool:
    return status == 200 and headers.get("content-type", "").lower().startswith(
        "text/event-stream")
