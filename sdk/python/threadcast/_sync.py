"""Runs and outside events over redis.Redis: the agent's thread adds to the story, a
thread of the run sends it."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Callable, List, Optional, Type

import redis
import redis.exceptions as rx

from ._link import delays, settings
from ._outside import Published, Request
from ._say import Exit, Say
from ._script import TEXT, Call, gave_up, hello, lasting, passes, words
from ._story import WAITING_MAX_BYTES, Story
from .errors import ThreadcastError, Unavailable


class Link:
    """One connection and the run_id read over it. Used by one thread."""

    def __init__(self, client: redis.Redis, job: str) -> None:
        pool: Any = client.connection_pool
        self._make: Callable[[], Any] = lambda: pool.connection_class(**settings(client, job))
        self._connection: Any = None
        self._redis_run_id = ""

    def _ask(self, *command: Any) -> Any:
        self._connection.send_command(*command)
        return self._connection.read_response()

    def _connect(self) -> None:
        self._connection = self._make()
        self._connection.connect()
        self._redis_run_id = hello(self._ask("INFO", "server"))

    def send(self, call: Call) -> List[str]:
        """One try. After any failure the connection is gone."""
        try:
            if not self._connection:
                self._connect()
            call.tries += 1
            try:
                return words(self._ask(*call.command(self._redis_run_id)))
            except rx.NoScriptError:
                self._ask("SCRIPT", "LOAD", TEXT)
                return words(self._ask(*call.command(self._redis_run_id)))
        except BaseException:
            self.close()
            raise

    def deliver(self, call: Call, give_up_s: float, again: bool) -> List[str]:
        """Sends the same call until it is answered. `again`: it may be sent again though
        it may have arrived."""
        end = time.monotonic() + give_up_s
        for delay in delays():
            try:
                return self.send(call)
            except Exception as e:
                if isinstance(e, ThreadcastError):
                    raise
                if not passes(e):
                    raise lasting(e) from e
                if time.monotonic() + delay > end or not again and call.tries:
                    raise gave_up(e, give_up_s) from e
            time.sleep(delay)
        raise AssertionError("delays() never ends")

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            connection.disconnect()


class Run(Say[None]):
    """One answer in the making; see threadcast.run(). Its methods may be called from any
    thread, by one at a time. They return at once, unless more than 1 MiB waits."""

    def __init__(self, client: redis.Redis, story: Story, give_up_s: float) -> None:
        super().__init__(story)
        self._client, self._give_up_s = client, give_up_s
        self._changed = threading.Condition()
        self._sender: Optional[threading.Thread] = None

    def __enter__(self) -> "Run":
        if self._sender:
            raise RuntimeError("a run is entered once")
        self._sender = threading.Thread(target=self._send_all, daemon=True,
                                        name="threadcast run " + self.run_id)
        self._sender.start()
        try:
            self.flush()  # the run has begun, or the agent need not
        except BaseException as e:
            with self._changed:
                if not self._story.failure:
                    self._story.failure = Unavailable("interrupted: %r" % e)
                self._changed.notify_all()
            raise
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        with self._changed:
            if not self._story.failure:
                Exit(error).say(self._story)
            self._changed.notify_all()
        assert self._sender
        self._sender.join()
        if self._story.failure and error is None:
            raise self._story.failure

    def flush(self) -> None:
        """Waits until Redis has everything that was said so far."""
        with self._changed:
            self._changed.wait_for(lambda: self._story.failure or self._story.idle())
            if self._story.failure:
                raise self._story.failure

    def _say(self, add: Callable[[], None]) -> None:
        with self._changed:
            if not self._sender:
                raise RuntimeError("a run is used inside `with`")
            add()
            self._changed.notify_all()
            if self._story.waiting_bytes > WAITING_MAX_BYTES:
                self._changed.wait_for(lambda: self._story.failure or
                                       self._story.waiting_bytes <= WAITING_MAX_BYTES)

    # The sender's thread.

    def _send_all(self) -> None:
        link = Link(self._client, "publish")
        try:
            while True:
                call = self._next()
                if not call:
                    return
                reply = link.deliver(call, self._give_up_s, again=True)
                with self._changed:
                    self._story.answered(reply)
                    self._changed.notify_all()
        except Exception as e:
            with self._changed:
                self._story.failure = e if isinstance(e, ThreadcastError) else lasting(e)
                self._changed.notify_all()
        finally:
            link.close()

    def _next(self) -> Optional[Call]:
        """Waits for the next call; None when there will be none."""
        with self._changed:
            while not (self._story.over or self._story.failure):
                now = time.monotonic()
                call = self._story.take(now)
                if call:
                    return call
                self._changed.wait(self._story.wait_s(now))
            return None


def publish(client: redis.Redis, request: Request, give_up_s: float) -> Published:
    link = Link(client, "outside")
    try:
        call = request.call()
        return request.result(link.deliver(call, give_up_s, again=call.once is not None))
    finally:
        link.close()
