"""Story: all of a run but sockets and clocks: what waits, what is in flight, which number
comes next, what to say again when Redis has lost the run.

    add() ─▶ waiting ─▶ take() ─▶ in flight ─▶ answered()
                                      ▲            │ LOST, GAP: begin anew, with `rewind`
                                      └────────────┘ and all that was made so far, folded

The caller sends what take() gives, unchanged, until it is answered, one at a time. Both
the thread of a Run and the task of an AsyncRun do nothing else."""

from __future__ import annotations

import json
import time
from typing import Any, Dict, List, Optional, Tuple

from ._event import TEXT_MAX_BYTES, check_size, clean, pieces, to_json
from ._script import Call, Place
from .errors import Cancelled, Ended, Fenced, Refused, ThreadcastError, WorkerLost

TEXT = ("token", "reasoning")  # what merges while it waits
CALL_MAX_EVENTS = 128
CALL_MAX_BYTES = 1024 * 1024
WAITING_MAX_BYTES = 1024 * 1024  # then the agent has to wait
FLUSH_MAX_S = 0.2
FLUSH_DOUBLES_AFTER = 1000  # events of a run
LOST_MAX = 10  # in a row: this Redis keeps nothing


def now_ms() -> int:
    return int(time.time() * 1000)


class _Item:
    """One event that waits. Text may still grow; anything else is finished JSON."""

    __slots__ = ("kind", "parts", "size", "ts")

    def __init__(self, kind: str, text: str, size: int, ts: int) -> None:
        self.kind, self.parts, self.size, self.ts = kind, [text], size, ts


class Story:
    def __init__(self, place: Place, run_id: str, message_id: str, agent_id: str,
                 attempt: int, worker: str, flush_s: float) -> None:
        self.place, self.run_id, self.message_id = place, run_id, message_id
        self.agent_id, self.attempt, self.worker = agent_id, attempt, worker
        self.finish_reason = "stop"
        self.usage: Optional[Dict[str, int]] = None
        self.failure: Optional[ThreadcastError] = None
        self.over = False
        self.begun = False  # Redis knows it
        self.cancelled = False  # by somebody outside
        self.waiting_bytes = 0
        self._tail = ',"runId":%s,"agentId":%s,"messageId":%s,"attempt":%d}' % (
            json.dumps(run_id), json.dumps(agent_id), json.dumps(message_id), attempt)
        self._waiting: List[_Item] = []
        self._flight: Optional[Call] = None
        self._ending = False
        self._number = 1  # of the next event that is taken
        self._lost = 0
        self._flush_s = flush_s
        self._text_at = float("-inf")  # when text was last taken
        self._taken = 0
        # What a reader has to be told again: kept when an event is taken.
        self._text: List[str] = []
        self._reasoning: List[str] = []
        self._steps: List[Tuple[str, int]] = []
        self._status: Optional[Tuple[str, int]] = None
        # How much of the log has passed since the run began there.
        self._began: Tuple[str, int] = ("", 0)
        self._since_events = self._since_bytes = 0
        self._fold_events = self._fold_bytes = 0
        self.add("status", {"status": "rewind" if attempt > 1 else "started"})

    @property
    def text(self) -> str:
        """The answer so far, with what still waits."""
        return "".join(self._text + [p for i in self._waiting if i.kind == "token"
                                     for p in i.parts])

    # What the agent says.

    def add_text(self, kind: str, text: str) -> None:
        """kind: token or reasoning. Grows into the piece that waits, when there is one."""
        if not isinstance(text, str):
            raise TypeError("%s takes a string, not %s" % (kind, type(text).__name__))
        self._still_open()
        for piece in pieces(clean(text)):
            size, ts = len(piece.encode()), now_ms()
            last = self._waiting[-1] if self._waiting else None
            if last and last.kind == kind and last.size + size <= TEXT_MAX_BYTES:
                last.parts.append(piece)
                last.size += size
                last.ts = ts
            else:
                self._waiting.append(_Item(kind, piece, size, ts))
            self.waiting_bytes += size

    def add(self, type: str, content: Any) -> None:
        self._still_open()
        text, ts = to_json(content), now_ms()
        size = len(check_size(self._event(type, text, ts)))
        self._waiting.append(_Item(type, text, size, ts))
        self.waiting_bytes += size

    def end(self, type: str, content: Any) -> None:
        """The last event. With it the run is over."""
        self.add(type, content)
        self._ending = True

    def done(self, finish_reason: str) -> None:
        content: Dict[str, Any] = {"messageId": self.message_id, "finishReason": finish_reason}
        if self.usage:
            content["usage"] = self.usage
        self.end("done", content)

    def stopped(self) -> None:
        """`cancelled`, and the end."""
        self.add("status", {"status": "cancelled"})
        self.done("cancelled")

    def cancel(self) -> bool:
        """Somebody cancels the run. False: too late, or a second time."""
        if self.failure or self.cancelled or self.ending:
            return False
        self.cancelled = True
        return True

    @property
    def ending(self) -> bool:
        """Its end has been said, published or not."""
        return self._ending or self.over

    def check(self) -> None:
        """Raises what keeps the agent from going on."""
        if self.failure:
            raise self.failure
        if self.cancelled and self.ending:
            raise Cancelled(self.run_id)

    def _still_open(self) -> None:
        self.check()
        if self._ending or self.over:
            raise RuntimeError("this run is over")

    def _event(self, type: str, content: str, ts: int) -> bytes:
        return ('{"type":"%s","threadId":"%s","content":%s,"ts":%d%s' % (
            type, self.place.thread, content, ts, self._tail)).encode()

    def _text_event(self, kind: str, text: str, ts: int) -> bytes:
        if kind == "token":
            return self._event("token", to_json(text), ts)
        return self._event("delta", to_json({"kind": "reasoning", "text": text}), ts)

    # What the sender sends.

    def wait_s(self, now: float) -> Optional[float]:
        """Until take() has something; None: until something is added."""
        if self._flight:
            return 0.0  # to be sent, again or anew
        if not self._waiting:
            return None
        if any(item.kind not in TEXT for item in self._waiting):
            return 0.0
        return max(0.0, self._text_at + self._interval() - now)

    def idle(self) -> bool:
        return not self._waiting and self._flight is None

    def take(self, now: float) -> Optional[Call]:
        """The call in flight, a new one when it is time for one, or None."""
        if self._flight:
            return self._flight
        if self.over or self.wait_s(now) != 0.0:
            return None
        events: List[bytes] = []
        anew = self.begun and not self._ending and self._half_passed()
        if anew:
            events = self._fold()
        used = size = 0
        for item in self._waiting:
            if item.kind in TEXT:
                self._text_at = now
            if used == CALL_MAX_EVENTS or used and size + item.size > CALL_MAX_BYTES:
                break
            events.append(self._take_item(item))
            used += 1
            size += item.size
        last = used == len(self._waiting) and self._ending
        self._waiting = self._waiting[used:]
        self.waiting_bytes -= size
        self._taken += used
        begins = anew or not self.begun
        mode = ("beginend" if last else "begin") if begins else "end" if last else "publish"
        return self._fly(mode, self._number, events, last)

    def _interval(self) -> float:
        doubled = self._flush_s * (1 << min(self._taken // FLUSH_DOUBLES_AFTER, 20))
        return max(self._flush_s, min(doubled, FLUSH_MAX_S))

    def _take_item(self, item: _Item) -> bytes:
        text = "".join(item.parts)
        if item.kind == "token":
            self._text.append(text)
            return self._text_event("token", text, item.ts)
        if item.kind == "reasoning":
            self._reasoning.append(text)
            return self._text_event("reasoning", text, item.ts)
        if item.kind == "status":
            # `started` and `rewind` say where the run begins, not what it is doing.
            if not text.startswith(('{"status":"started"', '{"status":"rewind"')):
                self._status = (text, item.ts)
        elif item.kind == "delta" and not text.startswith(
                ('{"kind":"progress"', '{"kind":"activity"')):
            self._steps.append((text, item.ts))
        return self._event(item.kind, text, item.ts)

    def _fly(self, mode: str, number: int, events: List[bytes], last: bool) -> Call:
        self._number = number + len(events)
        self._flight = Call(self.place, mode, self.run_id, self.attempt, number, self.worker,
                            events, terminal=events[-1] if last else None)
        return self._flight

    def _fold(self) -> List[bytes]:
        """All that was made so far: reasoning, steps, what it is doing, text. Progress
        and activity are of the moment and not told again."""
        ts = now_ms()
        self._text, self._reasoning = ["".join(self._text)], ["".join(self._reasoning)]
        events = [self._event("status", '{"status":"rewind"}', ts)]
        events += [self._text_event("reasoning", p, ts) for p in pieces(self._reasoning[0])]
        events += [self._event("delta", text, at) for text, at in self._steps]
        if self._status:
            events.append(self._event("status", *self._status))
        events += [self._text_event("token", p, ts) for p in pieces(self._text[0])]
        self._fold_events, self._fold_bytes = len(events), sum(map(len, events))
        return events

    def _half_passed(self) -> bool:
        """A reader who joins needs the run's beginning in the log; before it is trimmed
        away the run begins anew. (Not when the fold itself fills the log.)"""
        limits = self.place.limits
        return (self._since_events > max(limits.max_events // 2, 2 * self._fold_events) or
                self._since_bytes > max(limits.max_bytes // 2, 2 * self._fold_bytes))

    # What Redis says.

    def answered(self, reply: List[str], end: Optional[bytes] = None) -> None:
        """`end`: after ENDED, the event that ended the run, if it is still in the log."""
        call, word = self._flight, reply[0]
        assert call
        self._flight = None
        if word == "OK":
            self._lost = 0
            self.begun = True
            self.over = call.ends
            self._count(call, reply[1], reply[2])
        elif word in ("LOST", "GAP") and self._lost < LOST_MAX:
            self._lost += 1
            events = self._fold() + ([call.terminal] if call.terminal else [])
            self._fly("beginend" if call.terminal else "begin", call.number, events,
                      call.terminal is not None)
        elif word == "ENDED" and _ended_by(call, end):
            self.over = True
        elif word == "ENDED":
            self.failure = (WorkerLost if _says_lost(end) else Ended)(reply[1])
        elif word == "FENCED":
            self.failure = Fenced(int(reply[1]))
        else:
            self.failure = Refused("publish.lua answers %s again and again" % " ".join(reply))

    def _count(self, call: Call, first: str, last: str) -> None:
        """Others write to the log too: within one epoch the ids tell how much."""
        if call.mode.startswith("begin"):
            self._since_events = self._since_bytes = 0
            if first:
                epoch, n = first.split("-")
                self._began = (epoch, int(n))
        self._since_bytes += sum(map(len, call.events))
        self._since_events += len(call.events)
        if last:
            epoch, n = last.split("-")
            if epoch == self._began[0]:
                self._since_events = max(self._since_events, int(n) - self._began[1] + 1)


def _ended_by(call: Call, end: Optional[bytes]) -> bool:
    """Was it this very call, whose first answer was lost?"""
    if not call.terminal or call.tries < 2:
        return False
    return end is None or end.endswith(call.terminal[1:])  # the id is put in front


def _says_lost(end: Optional[bytes]) -> bool:
    try:
        said = json.loads(end or b"{}")
        return bool(said["type"] == "error" and said["content"]["code"] == "worker_lost")
    except (KeyError, TypeError, ValueError):
        return False
