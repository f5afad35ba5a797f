"""Publish what an agent does, as it happens, to the readers of a Threadcast thread.

    with threadcast.run(redis.Redis(), "t1") as run:
        run.token("Hel")
        run.token("lo")

    async with threadcast.run(redis.asyncio.Redis(), "t1") as run:
        await run.token("Hello")
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping, Optional, Sequence, Union, overload

import redis
import redis.asyncio

from . import _aio, _sync
from ._aio import AsyncRun
from ._event import check_name, check_prefix, check_thread
from ._life import Life
from ._outside import Published, Request
from ._say import new_id
from ._script import Limits, Place
from ._story import Story
from ._sync import Run
from .errors import (AgentError, Cancelled, Conflict, Ended, EventTooLarge, Fenced, Refused,
                     Taken, ThreadcastError, Unavailable, WorkerLost)

__version__ = "0.1.0"
__all__ = ["run", "publish", "Run", "AsyncRun", "Limits", "Published", "ThreadcastError",
           "AgentError", "Cancelled", "Conflict", "Ended", "EventTooLarge", "Fenced",
           "Refused", "Taken", "Unavailable", "WorkerLost"]

Events = Union[Mapping[str, Any], Sequence[Mapping[str, Any]]]


def _is_async(client: Any) -> bool:
    if isinstance(client, redis.asyncio.Redis):
        return True
    if isinstance(client, redis.Redis):
        return False
    raise TypeError("the client is a redis.Redis or a redis.asyncio.Redis, not %s"
                    % type(client).__name__)


@overload
def run(client: redis.asyncio.Redis, thread: str, *, run_id: Optional[str] = ...,
        message_id: Optional[str] = ..., agent_id: str = ..., attempt: int = ...,
        prefix: str = ..., limits: Limits = ..., flush_ms: float = ...,
        give_up_s: float = ..., lease_ms: int = ...,
        on_cancel: Optional[Callable[[], Any]] = ...) -> AsyncRun: ...


@overload
def run(client: redis.Redis, thread: str, *, run_id: Optional[str] = ...,
        message_id: Optional[str] = ..., agent_id: str = ..., attempt: int = ...,
        prefix: str = ..., limits: Limits = ..., flush_ms: float = ...,
        give_up_s: float = ..., lease_ms: int = ...,
        on_cancel: Optional[Callable[[], Any]] = ...) -> Run: ...


def run(client: Any, thread: str, *, run_id: Optional[str] = None,
        message_id: Optional[str] = None, agent_id: str = "python", attempt: int = 1,
        prefix: str = "", limits: Limits = Limits(), flush_ms: float = 25,
        give_up_s: float = 30, lease_ms: int = 15_000,
        on_cancel: Optional[Callable[[], Any]] = None) -> Union[Run, AsyncRun]:
    """One answer in the making: enter it with `with` or `async with`, by the client's kind.

    Entering publishes `started` (`rewind` when `attempt` is above 1). Leaving publishes
    `done`; by an exception `error`, and by cancellation or Ctrl-C `cancelled` and `done`;
    the exception goes on. `run_id` and `message_id` are made when not given: give them
    when they are known elsewhere, and raise `attempt` to take a run over.

    The first token leaves at once; others that come within `flush_ms` leave as one.
    Without an answer from Redis for `give_up_s` the run fails with Unavailable.

    While the run is open its publisher gives a sign of life every third of `lease_ms`. When
    there was none for a lease, a bridge ends the run, and its publisher gets WorkerLost.

    Somebody may cancel the run: its readers get `cancelled` and its end at once. In asyncio
    the task that entered it gets a CancelledError, otherwise the next call of the run
    raises Cancelled; the block ends with Cancelled. With `on_cancel` that is called
    instead, `run.cancelled` is true, and the end is said when the block ends."""
    is_async = _is_async(client)
    if not isinstance(attempt, int) or attempt < 1:
        raise ValueError("attempt is a whole number from 1")
    if not 0 <= flush_ms <= 10_000 or give_up_s < 0:
        raise ValueError("flush_ms is 0 to 10,000, give_up_s not negative")
    if not isinstance(lease_ms, int) or not 100 <= lease_ms <= 3_600_000:
        raise ValueError("lease_ms is a whole number from 100 to 3,600,000")
    life = Life(check_prefix(prefix), lease_ms)
    story = Story(
        Place(check_thread(thread), check_prefix(prefix), limits),
        check_name("run_id", new_id() if run_id is None else run_id),
        check_name("message_id", new_id() if message_id is None else message_id),
        check_name("agent_id", agent_id), attempt, life.worker, flush_ms / 1000)
    return (AsyncRun if is_async else Run)(client, story, life, give_up_s, on_cancel)


@overload
def publish(client: redis.asyncio.Redis, thread: str, event: Events, *,
            idempotency_key: Optional[str] = ..., prefix: str = ..., limits: Limits = ...,
            give_up_s: float = ...) -> Awaitable[Published]: ...


@overload
def publish(client: redis.Redis, thread: str, event: Events, *,
            idempotency_key: Optional[str] = ..., prefix: str = ..., limits: Limits = ...,
            give_up_s: float = ...) -> Published: ...


def publish(client: Any, thread: str, event: Events, *, idempotency_key: Optional[str] = None,
            prefix: str = "", limits: Limits = Limits(),
            give_up_s: float = 10) -> Union[Published, Awaitable[Published]]:
    """Publishes an event, or several in one call, outside of any run. `type` and `content`
    are needed; `threadId` and `ts` are put in. An event may name a `runId` nobody
    publishes; one that has a publisher is Taken.

    With an `idempotency_key` it can be repeated for a day and happens once. Without one it
    is not sent again when the answer is lost: then Unavailable leaves open what happened."""
    is_async = _is_async(client)
    request = Request(Place(check_thread(thread), check_prefix(prefix), limits), event,
                      idempotency_key)
    return (_aio.publish if is_async else _sync.publish)(client, request, give_up_s)
