"""Outside events: of no run, or of one that nobody publishes."""

from __future__ import annotations

import hashlib
import json
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Union

from ._event import check_name, check_size, to_json
from ._script import Call, Place
from ._story import now_ms
from .errors import Conflict, Refused, Taken

TYPES = ("token", "status", "delta", "done", "error")
_KNOWN = ("type", "threadId", "content", "ts", "runId", "agentId", "messageId", "attempt")


class Published(NamedTuple):
    """Ids of the first and the last event; `repeated`: the idempotency key was known, and
    these are the ids its events got then."""

    first: str
    last: str
    repeated: bool = False


class Request:
    """One call of publish(): checked here, sent elsewhere."""

    def __init__(self, place: Place, events: Union[Mapping[str, Any], Sequence[Any]],
                 idempotency_key: Optional[str]) -> None:
        listed = [events] if isinstance(events, Mapping) else list(events)
        if not listed:
            raise ValueError("there is no event")
        self._place = place
        self._events = [self._event(e) for e in listed]
        self._claims = sorted({e["runId"] for e in listed if e.get("runId")})
        self._once = self._body_hash = ""
        if idempotency_key is not None:
            self._once = hashlib.sha256(("sdk\n" + idempotency_key).encode()).hexdigest()
            body = json.dumps([{k: v for k, v in e.items() if k != "id"} for e in listed],
                              sort_keys=True)
            self._body_hash = hashlib.sha256(body.encode()).hexdigest()

    def _event(self, event: Mapping[str, Any]) -> bytes:
        if not isinstance(event, Mapping):
            raise TypeError("an event is a dict")
        if event.get("type") not in TYPES:
            raise ValueError("an event's type is one of %s" % " ".join(TYPES))
        if not isinstance(event.get("content"), (str, Mapping)):
            raise ValueError("an event's content is a string or a dict")
        if event.get("threadId", self._place.thread) != self._place.thread:
            raise ValueError("this event belongs to thread %r" % (event["threadId"],))
        for name in ("runId", "agentId", "messageId"):
            if name in event:
                check_name(name, event[name])
        for name in ("ts", "attempt"):
            if name in event and (not isinstance(event[name], int) or event[name] < 1):
                raise ValueError("%s is a whole number from 1" % name)
        whole = {"threadId": self._place.thread, "ts": now_ms(), **event}
        ordered = {k: whole[k] for k in _KNOWN if k in whole}
        ordered.update((k, v) for k, v in whole.items() if k not in _KNOWN and k != "id")
        return check_size(to_json(ordered).encode())

    def call(self) -> Call:
        return Call(self._place, "outside", " ".join(self._claims), 0, 0, self._body_hash,
                    self._events, once=self._once or None)

    @staticmethod
    def result(reply: List[str]) -> Published:
        if reply[0] == "OK":
            return Published(reply[1], reply[2])
        if reply[0] == "ONCE":
            return Published(reply[1], reply[2], True)
        if reply[0] == "TAKEN":
            raise Taken(reply[1])
        if reply[0] == "CONFLICT":
            raise Conflict("this idempotency key was used for other events")
        raise Refused("publish.lua answers " + " ".join(reply))
