"""Runs and outside events over redis.asyncio.Redis: a task of the run sends the story.
Mirrors _sync.py word for word where it can."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Awaitable, Callable, List, Optional, Type

import redis.asyncio
import redis.exceptions as rx

from . import _aio_control
from ._control import tell
from ._life import Life
from ._link import delays, make_connection, settings
from ._outside import Published, Request
from ._say import Exit, Say
from ._script import TEXT, Call, gave_up, hello, lasting, passes, words
from ._story import WAITING_MAX_BYTES, Story
from .errors import Cancelled, ThreadcastError, Unavailable


class Link:
    """One connection and the run_id read over it, and the sign of life of the run whose
    connection it is. Used by one task."""

    def __init__(self, client: redis.asyncio.Redis, job: str,
                 life: Optional[Life] = None) -> None:
        self._life = life
        pool: Any = client.connection_pool
        self._make: Callable[[], Any] = lambda: make_connection(pool, settings(client, job))
        self._connection: Any = None
        self._redis_run_id = ""

    async def _ask(self, *command: Any) -> Any:
        await self._connection.send_command(*command)
        return await self._connection.read_response()

    async def _connect(self) -> None:
        self._connection = self._make()
        await self._connection.connect()
        self._redis_run_id = hello(await self._ask("INFO", "server"))
        if self._life:
            self._life.due = 0.0  # this Redis may not know of it

    async def _beat(self, life: Life) -> None:
        now = time.monotonic()
        await self._ask(*life.beat())
        life.beaten(now)

    async def send(self, call: Call) -> List[str]:
        """One try. After any failure, cancellation too, the connection is gone."""
        try:
            if not self._connection:
                await self._connect()
            if self._life and (call.begins or time.monotonic() >= self._life.due):
                await self._beat(self._life)
            call.tries += 1
            try:
                return words(await self._ask(*call.command(self._redis_run_id)))
            except rx.NoScriptError:
                await self._ask("SCRIPT", "LOAD", TEXT)
                return words(await self._ask(*call.command(self._redis_run_id)))
        except BaseException:
            await self.close()
            raise

    async def deliver(self, call: Call, give_up_s: float, again: bool) -> List[str]:
        """Sends the same call until it is answered. `again`: it may be sent again though
        it may have arrived."""
        end = time.monotonic() + give_up_s
        for delay in delays():
            try:
                return await self.send(call)
            except Exception as e:
                if isinstance(e, ThreadcastError):
                    raise
                if not passes(e) and not isinstance(e, asyncio.TimeoutError):
                    raise lasting(e) from e
                if time.monotonic() + delay > end or not again and call.tries:
                    raise gave_up(e, give_up_s) from e
            await asyncio.sleep(delay)
        raise AssertionError("delays() never ends")

    async def beat(self) -> None:
        """Gives the sign of life, when nothing else is said. Redis away: later."""
        assert self._life
        try:
            if not self._connection:
                await self._connect()
            await self._beat(self._life)
        except BaseException as e:
            await self.close()
            if not isinstance(e, Exception) or isinstance(e, ThreadcastError):
                raise
            if not passes(e) and not isinstance(e, asyncio.TimeoutError):
                raise lasting(e) from e
            self._life.missed(time.monotonic())

    async def event(self, log: str, id: str) -> Optional[bytes]:
        """An event that is in the log; None when it cannot be had."""
        try:
            found = await self._ask("XRANGE", log, id, id)
            return bytes(found[0][1][1])
        except Exception:
            await self.close()
            return None

    async def leave(self) -> None:
        """The run is over, or given up: no more signs of life."""
        try:
            if self._life and self._connection:
                await self._ask(*self._life.end())
        except Exception:
            pass  # it expires
        finally:
            await self.close()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            try:
                await connection.disconnect()
            except (OSError, rx.RedisError):
                pass  # it was lost already


class AsyncRun(Say[Awaitable[None]]):
    """One answer in the making; see threadcast.run(). Its methods give way to the other
    tasks once and return, unless more than 1 MiB waits."""

    def __init__(self, client: redis.asyncio.Redis, story: Story, life: Life,
                 give_up_s: float, on_cancel: Optional[Callable[[], Any]]) -> None:
        super().__init__(story)
        self._client, self._life, self._give_up_s = client, life, give_up_s
        self._on_cancel = on_cancel
        self._sender: Optional["asyncio.Task[None]"] = None
        self._body: Optional["asyncio.Task[Any]"] = None  # the task inside the block
        self._cancels = 0  # of that task, before we cancelled it
        self._interrupted = False  # by us, with a CancelledError

    async def __aenter__(self) -> "AsyncRun":
        if self._sender:
            raise RuntimeError("a run is entered once")
        self._news, self._changed = asyncio.Event(), asyncio.Event()
        self._control = await _aio_control.subscribe(
            self._client, self._story.place.prefix, self, self._give_up_s)
        self._sender = asyncio.ensure_future(self._send_all())
        try:
            await self.flush()  # the run has begun, or the agent need not
        except BaseException as e:
            self._fail(Unavailable("interrupted: %r" % e))
            self._sender.cancel()
            await self._control.leave(self)
            raise
        self._body = asyncio.current_task()
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]],
                        error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        self._body = None
        if not (self._story.failure or self._story.ending):
            Exit(error).say(self._story)
        self._news.set()
        assert self._sender
        try:
            await asyncio.shield(self._sender)
        except asyncio.CancelledError:  # a second time, and now in earnest
            self._sender.cancel()
            raise
        finally:
            await self._control.leave(self)
        if self._ours(error):
            raise Cancelled(self.run_id) from error
        if self._story.failure and error is None:
            raise self._story.failure

    def _ours(self, error: Optional[BaseException]) -> bool:
        """Does the block end because this run was cancelled, and for no other reason?"""
        if self._interrupted:
            uncancel = getattr(asyncio.current_task(), "uncancel", int)
            if uncancel() > self._cancels:
                return False  # somebody else wants the task to end, too
            return error is None or isinstance(error, asyncio.CancelledError)
        return self._story.cancelled and not self._on_cancel and error is None

    async def flush(self) -> None:
        """Waits until Redis has everything that was said so far."""
        await self._until(self._story.idle)
        self._story.check()

    def _say(self, add: Callable[[], None]) -> Awaitable[None]:
        if not self._sender:
            raise RuntimeError("a run is used inside `async with`")
        add()
        self._news.set()
        return self._give_way()

    async def _give_way(self) -> None:
        await asyncio.sleep(0)  # an agent that never waits must not hold up the sender
        if self._story.waiting_bytes > WAITING_MAX_BYTES:
            await self._until(lambda: self._story.waiting_bytes <= WAITING_MAX_BYTES)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not (self._story.failure or condition()):
            await self._changed.wait()

    def _cancel(self) -> None:
        """In the control's task: somebody cancels this run."""
        if not self._story.cancel():
            return
        if self._on_cancel is not None and tell(self._on_cancel):
            return
        self._on_cancel = None
        if not (self._story.failure or self._story.ending):
            self._story.stopped()
            self._news.set()
            if self._body:
                # Not counted from the block's beginning: libraries cancel tasks for their
                # timeouts and leave the count raised. (Python 3.11 and newer count.)
                self._cancels = getattr(self._body, "cancelling", int)()
                self._interrupted = True
                self._body.cancel()

    def _tell(self) -> None:
        """Wakes all who wait for a change now; later ones wait for the next."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _fail(self, failure: ThreadcastError) -> None:
        self._story.failure = self._story.failure or failure
        self._tell()

    # The sender's task.

    async def _send_all(self) -> None:
        link = Link(self._client, "publish", self._life)
        log = self._story.place.key("log")
        try:
            while await self._wait():
                call = self._story.take(time.monotonic())
                if not call:
                    await link.beat()
                    continue
                reply = await link.deliver(call, self._give_up_s, again=True)
                end = await link.event(log, reply[1]) if reply[0] == "ENDED" else None
                self._story.answered(reply, end)
                self._tell()
        except asyncio.CancelledError:
            self._fail(Unavailable("cancelled"))
            raise
        except Exception as e:
            self._fail(e if isinstance(e, ThreadcastError) else lasting(e))
        finally:
            await link.leave()

    async def _wait(self) -> bool:
        """For the time to send something, a sign of life if nothing else. False: over."""
        while not (self._story.over or self._story.failure):
            now = time.monotonic()
            due_s = self._life.due - now if self._story.begun else None
            waits = [w for w in (self._story.wait_s(now), due_s) if w is not None]
            if waits and min(waits) <= 0:
                return True
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), min(waits) if waits else None)
            except asyncio.TimeoutError:
                pass
        return False


async def publish(client: redis.asyncio.Redis, request: Request,
                  give_up_s: float) -> Published:
    link = Link(client, "outside")
    try:
        call = request.call()
        reply = await link.deliver(call, give_up_s, again=call.once is not None)
        return request.result(reply)
    finally:
        await link.close()
