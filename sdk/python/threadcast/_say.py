"""What an agent can say, the same for both kinds of run: a Run's methods return None, an
AsyncRun's have to be awaited."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, Callable, Dict, Generic, Mapping, Optional, TypeVar, Union

from ._story import Story
from .errors import AgentError

Said = TypeVar("Said")
_STATUSES = ("queued", "thinking", "working", "typing", "cancelled")


class Say(Generic[Said]):
    def __init__(self, story: Story) -> None:
        self._story = story

    def _say(self, add: Callable[[], None]) -> Said:
        raise NotImplementedError

    @property
    def thread(self) -> str:
        return self._story.place.thread

    @property
    def run_id(self) -> str:
        return self._story.run_id

    @property
    def message_id(self) -> str:
        """The answer's id, on every event and in `done`."""
        return self._story.message_id

    @property
    def attempt(self) -> int:
        return self._story.attempt

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._story.text

    @property
    def cancelled(self) -> bool:
        """Has somebody cancelled this run?"""
        return self._story.cancelled

    @property
    def finish_reason(self) -> str:
        """Said in `done` when the block ends: stop, length, tool …"""
        return self._story.finish_reason

    @finish_reason.setter
    def finish_reason(self, reason: str) -> None:
        self._story.finish_reason = reason

    def token(self, text: str) -> Said:
        """The next piece of the answer."""
        return self._say(lambda: self._story.add_text("token", text))

    def reasoning(self, text: str) -> Said:
        """The next piece of what the agent thinks."""
        return self._say(lambda: self._story.add_text("reasoning", text))

    def status(self, status: str, **details: Any) -> Said:
        """thinking, working, typing … (`started` and `rewind` are said by the run)."""
        if status not in _STATUSES:
            raise ValueError("a status is one of %s, not %r" % (" ".join(_STATUSES), status))
        return self._say(lambda: self._story.add("status", {"status": status, **details}))

    def delta(self, kind: str, **fields: Any) -> Said:
        """Anything besides text: step, activity, milestone, or a kind of your own."""
        if not isinstance(kind, str) or not kind:
            raise ValueError("a delta has a kind")
        return self._say(lambda: self._story.add("delta", {"kind": kind, **fields}))

    def tool_call(self, name: str, arguments: Union[Mapping[str, Any], str],
                  tool_call_id: str) -> Said:
        return self.delta("tool_call", toolCallId=tool_call_id, name=name, arguments=arguments)

    def tool_result(self, tool_call_id: str, result: Any, *, is_error: bool = False) -> Said:
        fields: Dict[str, Any] = {"isError": True} if is_error else {}
        return self.delta("tool_result", toolCallId=tool_call_id, result=result, **fields)

    def progress(self, completed: float, total: Optional[float] = None, *,
                 unit: Optional[str] = None, message: Optional[str] = None) -> Said:
        fields = {"total": total, "unit": unit, "message": message}
        return self.delta("progress", completed=completed,
                          **{k: v for k, v in fields.items() if v is not None})

    def usage(self, input_tokens: int, output_tokens: int,
              total_tokens: Optional[int] = None) -> Said:
        """Told at once, and again in `done`."""
        total = input_tokens + output_tokens if total_tokens is None else total_tokens
        usage = {"inputTokens": input_tokens, "outputTokens": output_tokens,
                 "totalTokens": total}

        def add() -> None:
            self._story.add("delta", {"kind": "usage", **usage})
            self._story.usage = usage
        return self._say(add)


class Exit:
    """How a block ended, and what its run says to that."""

    def __init__(self, error: Optional[BaseException]) -> None:
        self.error = error

    def say(self, story: Story) -> None:
        error = self.error
        if story.cancelled:  # whatever else came of it
            story.stopped()
        elif error is None:
            story.done(story.finish_reason)
        elif isinstance(error, Exception) and not isinstance(error, asyncio.CancelledError):
            known = error if isinstance(error, AgentError) else AgentError(
                "The agent failed.")
            story.end("error", {"code": str(known.code)[:100],
                                "message": str(known.message)[:2000],
                                "retryable": bool(known.retryable)})
        else:  # cancelled, Ctrl-C, sys.exit()
            story.stopped()


def new_id() -> str:
    return str(uuid.uuid4())
