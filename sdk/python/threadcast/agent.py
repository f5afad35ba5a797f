"""An agent that threadcast-worker runs, as one function:

    from threadcast.agent import serve

    async def answer(job):
        async for piece in my_model(job.content):
            await job.token(piece)

    serve(answer)

The same program serves `"mode": "persistent"` (one process, many runs) and one process a
message: it sees by the first line which. What is printed goes into the worker's log.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import sys
import threading
import traceback
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional, cast

from ._say import Say
from ._story import Story
from .errors import AgentError

__all__ = ["Job", "serve"]

PROTOCOL = 1
PIECE_MAX = 16_000  # characters of a line, which has to stay below 252 KiB
Handler = Callable[["Job"], Any]


class _Place:
    def __init__(self, thread: str) -> None:
        self.thread = thread


class _Lines:
    """What Say adds to: the part of a Story that an agent sees, written as lines."""

    def __init__(self, told: Mapping[str, Any], write: Callable[[Mapping[str, Any]], None]) -> None:
        self.place = _Place(told["threadId"])
        self.run_id: str = told["runId"]
        self.message_id: str = told["messageId"]
        self.attempt: int = told["attempt"]
        self.cancelled = False
        self.finish_reason = "stop"
        self.usage: Optional[Dict[str, int]] = None
        self._text: List[str] = []
        self._write = write

    @property
    def text(self) -> str:
        return "".join(self._text)

    def add(self, type: str, content: Any) -> None:
        self._write({"type": type, "runId": self.run_id, "content": content})

    def add_text(self, kind: str, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError("%s takes a string, not %s" % (kind, type(text).__name__))
        for at in range(0, len(text), PIECE_MAX):
            piece = text[at:at + PIECE_MAX]
            if kind == "token":
                self._text.append(piece)
                self.add("token", piece)
            else:
                self.add("delta", {"kind": "reasoning", "text": piece})


class Job(Say[Awaitable[None]]):
    """One run: what is asked, and what can be said to it (as to a run of threadcast.run).
    When somebody cancels it, the handler gets a CancelledError where it waits."""

    def __init__(self, told: Mapping[str, Any], write: Callable[[Mapping[str, Any]], None]) -> None:
        self._lines = _Lines(told, write)
        super().__init__(cast(Story, self._lines))
        self.told = told  # all of it, as the worker sent it
        self._go = asyncio.Event()
        self._go.set()

    @property
    def agent_id(self) -> str:
        return str(self.told["agentId"])

    @property
    def content(self) -> str:
        """What is to be answered."""
        return str(self.told["message"]["content"])

    @property
    def metadata(self) -> Dict[str, Any]:
        return dict(self.told["message"].get("metadata") or {})

    @property
    def messages(self) -> List[Dict[str, Any]]:
        """What was said before, oldest first: id, role, content, author, createdAt."""
        return list(self.told.get("messages") or [])

    @property
    def input(self) -> Any:
        """The message's metadata.input, if there is one."""
        return self.told.get("input")

    def _say(self, add: Callable[[], None]) -> Awaitable[None]:
        add()
        return self._give_way()

    async def _give_way(self) -> None:
        await asyncio.sleep(0)  # the others' turn
        await self._go.wait()  # readers do not keep up: the worker says when

    def _end(self, error: Optional[BaseException]) -> None:
        if error is None or isinstance(error, asyncio.CancelledError):
            done: Dict[str, Any] = {"finishReason": "cancelled" if self._lines.cancelled
                                    else self._lines.finish_reason}
            if self._lines.usage:
                done["usage"] = self._lines.usage
            self._lines.add("done", done)
            return
        if not isinstance(error, AgentError):
            traceback.print_exception(type(error), error, error.__traceback__)
            error = AgentError("The agent failed.")
        self._lines.add("error", {"code": str(error.code)[:64],
                                  "message": str(error.message)[:2000],
                                  "retryable": bool(error.retryable)})


class _Server:
    def __init__(self, handler: Handler, out: int) -> None:
        self._handler, self._out = handler, out
        self._tasks: Dict[str, "asyncio.Task[None]"] = {}
        self._jobs: Dict[str, Job] = {}
        self._over = asyncio.Event()
        self._last = False  # no more runs come
        self._asked = False

    def write(self, line: Mapping[str, Any]) -> None:
        data = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        while data:
            data = data[os.write(self._out, data):]

    async def _work(self, job: Job) -> None:
        error: Optional[BaseException] = None
        try:
            said = self._handler(job)
            if inspect.isasyncgen(said):
                async for piece in said:
                    await job.token(cast(str, piece))
            else:
                await said
        except (Exception, asyncio.CancelledError) as e:
            error = e
        del self._tasks[job.run_id], self._jobs[job.run_id]
        job._end(error)
        self._settle()

    def _settle(self) -> None:
        if self._last and not self._tasks:
            self._over.set()

    def _start(self, told: Mapping[str, Any]) -> None:
        job = Job(told, self.write)
        self._jobs[job.run_id] = job
        self._tasks[job.run_id] = asyncio.ensure_future(self._work(job))

    def _first(self, told: Mapping[str, Any]) -> None:
        self._asked = True
        if told.get("type") != "hello":
            self._start(told)  # one run, and this is it
            self._last = True
        elif told["protocol"] != PROTOCOL:
            raise SystemExit("protocol %r is not spoken here" % told["protocol"])
        else:
            self.write({"type": "ready", "protocol": PROTOCOL})

    def heard(self, line: bytes) -> None:
        told = json.loads(line)
        if not self._asked:
            self._first(told)
            return
        kind, job = told.get("type"), self._jobs.get(told.get("runId"))
        if kind == "run":
            self._start(told)
        elif job and kind == "cancel":
            job._lines.cancelled = True
            self._tasks[job.run_id].cancel()
        elif job and kind == "pause":
            job._go.clear()
        elif job and kind == "resume":
            job._go.set()

    def stop(self, cancel: bool = False) -> None:
        """Its stdin has ended, or SIGTERM: what there is comes to its end."""
        self._last = True
        if cancel:
            for task in self._tasks.values():
                task.cancel()
        self._settle()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop, True)
        failed: List[BaseException] = []

        def heard(line: bytes) -> None:
            try:
                self.heard(line)
            except BaseException as e:  # it does not speak our protocol
                failed.append(e)
                self._over.set()

        threading.Thread(target=_read, args=(loop, heard, self.stop), daemon=True).start()
        await self._over.wait()
        if failed:
            raise failed[0]


def _read(loop: asyncio.AbstractEventLoop, heard: Callable[[bytes], None],
          ended: Callable[[], None]) -> None:
    """In a thread of its own, past the locks of sys.stdin."""
    rest = b""
    try:
        while True:
            data = os.read(0, 65536)
            *lines, rest = (rest + data).split(b"\n")
            if not data and rest.strip():  # a last line without its end
                lines, rest = [rest], b""
            for line in lines:
                if line.strip():
                    loop.call_soon_threadsafe(heard, line)
            if not data:
                loop.call_soon_threadsafe(ended)
                return
    except RuntimeError:
        pass  # the loop was closed meanwhile


def serve(handler: Handler) -> None:
    """Answers runs with `handler(job)`, a coroutine function or an asynchronous generator
    of text, until there are no more. Its return ends a run with `done`, AgentError with
    its own error, any other exception with `agent_error` ("The agent failed."), its
    traceback goes into the worker's log."""
    if not (inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler)):
        raise TypeError("the handler is an `async def`")
    out = os.dup(1)  # lines only: what others print goes the way of errors
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        cast(Any, stream).reconfigure(line_buffering=True)

    async def main() -> None:
        await _Server(handler, out).run()
    try:
        asyncio.run(main())
    except BrokenPipeError:
        pass  # the worker has gone
