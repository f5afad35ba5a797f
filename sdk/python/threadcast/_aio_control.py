"""The subscription to threadcast:control over redis.asyncio.Redis: one connection and one
task for all open runs of a client in a loop. Mirrors _sync_control.py."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple

import redis.asyncio
import redis.exceptions as rx

from ._control import PING_S, Hearers, channel, control_settings
from ._link import ANSWER_S, delays, make_connection
from ._script import gave_up, lasting, passes
from .errors import Refused, ThreadcastError

if TYPE_CHECKING:
    from ._aio import AsyncRun

Key = Tuple[asyncio.AbstractEventLoop, int, str]
_controls: Dict[Key, "Control"] = {}


async def subscribe(client: redis.asyncio.Redis, prefix: str, run: "AsyncRun",
                    give_up_s: float) -> "Control":
    """Returns when cancels of the run are heard."""
    key = (asyncio.get_running_loop(), id(client.connection_pool), prefix)
    control = _controls.get(key)
    if not control:
        control = _controls[key] = Control(client, key)
    control.hearers.add(run.run_id, run)
    try:
        await control.wait(give_up_s)
    except BaseException:
        await control.leave(run)
        raise
    return control


class Control:
    def __init__(self, client: redis.asyncio.Redis, key: Key) -> None:
        pool: Any = client.connection_pool
        # Nothing is read for as long as nobody cancels: PINGs tell whether it lives.
        self._make: Callable[[], Any] = (
            lambda: make_connection(pool, {**control_settings(client), "socket_timeout": None}))
        self._key, self._channel = key, channel(key[2])
        self.hearers: Hearers["AsyncRun"] = Hearers()
        self._changed = asyncio.Event()
        self._subscribed = False
        self._refused: Optional[ThreadcastError] = None
        self._trouble: Optional[Exception] = None
        self._task = asyncio.ensure_future(self._listen())

    async def wait(self, give_up_s: float) -> None:
        end = time.monotonic() + give_up_s
        while not self._subscribed:
            left = end - time.monotonic()
            if self._refused:
                raise self._refused
            if left <= 0 and self._trouble:  # it was tried once at least
                raise gave_up(self._trouble, give_up_s) from self._trouble
            try:
                await asyncio.wait_for(self._changed.wait(), left if left > 0 else None)
            except asyncio.TimeoutError:
                pass

    async def leave(self, run: "AsyncRun") -> None:
        self.hearers.remove(run.run_id, run)
        if self.hearers or self._task.done():
            return
        if _controls.get(self._key) is self:
            del _controls[self._key]  # from now on nobody joins
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=1)

    # The task.

    async def _listen(self) -> None:
        pauses = delays()
        while True:
            connection = None
            try:
                connection = self._make()
                await asyncio.wait_for(self._open(connection), ANSWER_S)
                pauses = delays()
                await self._hear(connection)
            except Exception as e:
                self._lost(e)
            finally:
                await self._close(connection)
            await asyncio.sleep(next(pauses))

    async def _open(self, connection: Any) -> None:
        await connection.connect()
        await connection.send_command("SUBSCRIBE", self._channel)
        await connection.read_response()
        self._subscribed, self._refused = True, None
        self._tell()

    def _lost(self, error: Exception) -> None:
        self._subscribed, self._trouble = False, error
        if not passes(error) and not isinstance(error, asyncio.TimeoutError):
            self._refused = Refused("%s: %s" % (self._channel, lasting(error)))
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _hear(self, connection: Any) -> None:
        reading = asyncio.ensure_future(connection.read_response())
        asked = False
        try:
            while True:
                done, _ = await asyncio.wait({reading}, timeout=PING_S)
                if done:
                    for run in list(self.hearers.meant(reading.result())):
                        run._cancel()
                    reading = asyncio.ensure_future(connection.read_response())
                    asked = False
                elif asked:
                    raise rx.TimeoutError("no answer to a PING")
                else:
                    asked = True
                    await connection.send_command("PING")
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    @staticmethod
    async def _close(connection: Any) -> None:
        try:
            if connection:
                await connection.disconnect()
        except (OSError, rx.RedisError):
            pass  # it was lost already
