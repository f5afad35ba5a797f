"""Runs and outside events over redis.Redis: the agent's thread adds to the story, a
thread of the run sends it."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Callable, List, Optional, Type

import redis
import redis.exceptions as rx

from . import _sync_control
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
    connection it is. Used by one thread."""

    def __init__(self, client: redis.Redis, job: str,
                 life: Optional[Life] = None) -> None:
        self._life = life
        pool: Any = client.connection_pool
        self._make: Callable[[], Any] = lambda: make_connection(pool, settings(client, job))
        self._connection: Any = None
        self._redis_run_id = ""

    def _ask(self, *command: Any) -> Any:
        self._connection.send_command(*command)
        return self._connection.read_response()

    def _connect(self) -> None:
        self._connection = self._make()
        self._connection.connect()
        self._redis_run_id = hello(self._ask("INFO", "server"))
        if self._life:
            self._life.due = 0.0  # this Redis may not know of it

    def _beat(self, life: Life) -> None:
        now = time.monotonic()
        self._ask(*life.beat())
        life.beaten(now)

    def send(self, call: Call) -> List[str]:
        """One try. After any failure the connection is gone."""
        try:
            if not self._connection:
                self._connect()
            if self._life and (call.begins or time.monotonic() >= self._life.due):
                self._beat(self._life)
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

    def beat(self) -> None:
        """Gives the sign of life, when nothing else is said. Redis away: later."""
        assert self._life
        try:
            if not self._connection:
                self._connect()
            self._beat(self._life)
        except BaseException as e:
            self.close()
            if not isinstance(e, Exception) or isinstance(e, ThreadcastError):
                raise
            if not passes(e):
                raise lasting(e) from e
            self._life.missed(time.monotonic())

    def event(self, log: str, id: str) -> Optional[bytes]:
        """An event that is in the log; None when it cannot be had."""
        try:
            found = self._ask("XRANGE", log, id, id)
            return bytes(found[0][1][1])
        except Exception:
            self.close()
            return None

    def leave(self) -> None:
        """The run is over, or given up: no more signs of life."""
        try:
            if self._life and self._connection:
                self._ask(*self._life.end())
        except Exception:
            pass  # it expires
        finally:
            self.close()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            connection.disconnect()


class Run(Say[None]):
    """One answer in the making; see threadcast.run(). Its methods may be called from any
    thread, by one at a time. They return at once, unless more than 1 MiB waits."""

    def __init__(self, client: redis.Redis, story: Story, life: Life, give_up_s: float,
                 on_cancel: Optional[Callable[[], Any]]) -> None:
        super().__init__(story)
        self._client, self._life, self._give_up_s = client, life, give_up_s
        self._on_cancel = on_cancel
        self._changed = threading.Condition()
        self._sender: Optional[threading.Thread] = None

    def __enter__(self) -> "Run":
        if self._sender:
            raise RuntimeError("a run is entered once")
        self._sender = threading.Thread(target=self._send_all, daemon=True,
                                        name="threadcast run " + self.run_id)
        self._control = _sync_control.subscribe(self._client, self._story.place.prefix, self,
                                                self._give_up_s)
        try:
            self._sender.start()
            self.flush()  # the run has begun, or the agent need not
        except BaseException as e:
            self._fail(Unavailable("interrupted: %r" % e))
            self._control.leave(self)
            raise
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        with self._changed:
            if not (self._story.failure or self._story.ending):
                Exit(error).say(self._story)
            self._changed.notify_all()
        assert self._sender
        try:
            self._sender.join()
        finally:
            self._control.leave(self)
        if error is None:
            if self._story.failure:
                raise self._story.failure
            if self._story.cancelled and not self._on_cancel:
                raise Cancelled(self.run_id)

    def flush(self) -> None:
        """Waits until Redis has everything that was said so far."""
        with self._changed:
            self._changed.wait_for(lambda: self._story.failure or self._story.idle())
            self._story.check()

    def _say(self, add: Callable[[], None]) -> None:
        with self._changed:
            if not self._sender:
                raise RuntimeError("a run is used inside `with`")
            add()
            self._changed.notify_all()
            if self._story.waiting_bytes > WAITING_MAX_BYTES:
                self._changed.wait_for(lambda: self._story.failure or
                                       self._story.waiting_bytes <= WAITING_MAX_BYTES)

    def _cancel(self) -> None:
        """In the control's thread: somebody cancels this run."""
        with self._changed:
            if not self._story.cancel():
                return
        told = self._on_cancel is not None and tell(self._on_cancel)
        with self._changed:
            if not told and not (self._story.failure or self._story.ending):
                self._on_cancel = None
                self._story.stopped()
                self._changed.notify_all()

    def _fail(self, failure: ThreadcastError) -> None:
        with self._changed:
            self._story.failure = self._story.failure or failure
            self._changed.notify_all()

    def _abandon(self) -> None:
        """The process ends: without a sign of life readers need not wait for a lease."""
        self._fail(Unavailable("the process ends"))

    # The sender's thread.

    def _send_all(self) -> None:
        link = Link(self._client, "publish", self._life)
        log = self._story.place.key("log")
        try:
            while self._wait():
                call = self._take()
                if not call:
                    link.beat()
                    continue
                reply = link.deliver(call, self._give_up_s, again=True)
                end = link.event(log, reply[1]) if reply[0] == "ENDED" else None
                with self._changed:
                    self._story.answered(reply, end)
                    self._changed.notify_all()
        except Exception as e:
            self._fail(e if isinstance(e, ThreadcastError) else lasting(e))
        finally:
            link.leave()

    def _take(self) -> Optional[Call]:
        with self._changed:
            return self._story.take(time.monotonic())

    def _wait(self) -> bool:
        """For the time to send something, a sign of life if nothing else. False: over."""
        with self._changed:
            while not (self._story.over or self._story.failure):
                now = time.monotonic()
                due_s = self._life.due - now if self._story.begun else None
                waits = [w for w in (self._story.wait_s(now), due_s) if w is not None]
                if waits and min(waits) <= 0:
                    return True
                self._changed.wait(min(waits) if waits else None)
            return False


def publish(client: redis.Redis, request: Request, give_up_s: float) -> Published:
    link = Link(client, "outside")
    try:
        call = request.call()
        return request.result(link.deliver(call, give_up_s, again=call.once is not None))
    finally:
        link.close()
