"""Runs and outside events over redis.asyncio.Redis: a task of the run sends the story.
Mirrors _sync.py word for word where it can."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Awaitable, Callable, List, Optional, Type

import redis.asyncio
import redis.exceptions as rx

from ._link import delays, settings
from ._outside import Published, Request
from ._say import Exit, Say
from ._script import TEXT, Call, gave_up, hello, lasting, passes, words
from ._story import WAITING_MAX_BYTES, Story
from .errors import ThreadcastError, Unavailable


class Link:
    """One connection and the run_id read over it. Used by one task."""

    def __init__(self, client: redis.asyncio.Redis, job: str) -> None:
        pool: Any = client.connection_pool
        self._make: Callable[[], Any] = lambda: pool.connection_class(**settings(client, job))
        self._connection: Any = None
        self._redis_run_id = ""

    async def _ask(self, *command: Any) -> Any:
        await self._connection.send_command(*command)
        return await self._connection.read_response()

    async def _connect(self) -> None:
        self._connection = self._make()
        await self._connection.connect()
        self._redis_run_id = hello(await self._ask("INFO", "server"))

    async def send(self, call: Call) -> List[str]:
        """One try. After any failure, cancellation too, the connection is gone."""
        try:
            if not self._connection:
                await self._connect()
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

    def __init__(self, client: redis.asyncio.Redis, story: Story,
                 give_up_s: float) -> None:
        super().__init__(story)
        self._client, self._give_up_s = client, give_up_s
        self._sender: Optional["asyncio.Task[None]"] = None

    async def __aenter__(self) -> "AsyncRun":
        if self._sender:
            raise RuntimeError("a run is entered once")
        self._news, self._changed = asyncio.Event(), asyncio.Event()
        self._sender = asyncio.ensure_future(self._send_all())
        try:
            await self.flush()  # the run has begun, or the agent need not
        except BaseException as e:
            self._fail(Unavailable("interrupted: %r" % e))
            self._sender.cancel()
            raise
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]],
                        error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        if not self._story.failure:
            Exit(error).say(self._story)
        self._news.set()
        assert self._sender
        try:
            await asyncio.shield(self._sender)
        except asyncio.CancelledError:  # a second time, and now in earnest
            self._sender.cancel()
            raise
        if self._story.failure and error is None:
            raise self._story.failure

    async def flush(self) -> None:
        """Waits until Redis has everything that was said so far."""
        await self._until(self._story.idle)
        if self._story.failure:
            raise self._story.failure

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

    def _tell(self) -> None:
        """Wakes all who wait for a change now; later ones wait for the next."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _fail(self, failure: ThreadcastError) -> None:
        self._story.failure = self._story.failure or failure
        self._tell()

    # The sender's task.

    async def _send_all(self) -> None:
        link = Link(self._client, "publish")
        try:
            while True:
                call = await self._next()
                if not call:
                    return
                self._story.answered(await link.deliver(call, self._give_up_s, again=True))
                self._tell()
        except asyncio.CancelledError:
            self._fail(Unavailable("cancelled"))
            raise
        except Exception as e:
            self._fail(e if isinstance(e, ThreadcastError) else lasting(e))
        finally:
            await link.close()

    async def _next(self) -> Optional[Call]:
        """Waits for the next call; None when there will be none."""
        while not (self._story.over or self._story.failure):
            now = time.monotonic()
            call = self._story.take(now)
            if call:
                return call
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), self._story.wait_s(now))
            except asyncio.TimeoutError:
                pass
        return None


async def publish(client: redis.asyncio.Redis, request: Request,
                  give_up_s: float) -> Published:
    link = Link(client, "outside")
    try:
        call = request.call()
        reply = await link.deliver(call, give_up_s, again=call.once is not None)
        return request.result(reply)
    finally:
        await link.close()
