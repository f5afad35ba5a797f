"""Read a thread, several, or one run, over the bridge's event stream: every event once and
in order, over as many connections as that takes. `pip install threadcast[client]`.

    with Subscription("https://…", thread="t1", token=token) as events:
        for event in events:
            print(event.type, event.content)

    async with AsyncSubscription("https://…", run=run_id, token=token) as events:
        async for event in events:
            …
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from types import TracebackType
from typing import (Any, AsyncGenerator, AsyncIterator, Awaitable, Callable, Dict, Generator,
                    Iterator, Mapping, Optional, Sequence, Type, Union)

try:
    import httpx
except ImportError as e:
    raise ImportError("reading needs httpx: pip install 'threadcast[client]'") from e

from ._course import Course, Event, Notice, is_stream, path_of
from ._sse import Parser
from .errors import Refused, ThreadcastError, Unavailable

__all__ = ["Subscription", "AsyncSubscription", "Event", "Notice", "Refused", "Unavailable",
           "ThreadcastError"]

Token = Union[str, Callable[[], Optional[str]]]
AsyncToken = Union[str, Callable[[], Union[Optional[str], Awaitable[Optional[str]]]]]
_CONNECT_S = 10.0
_EXTEND_S = 5.0
_BODY_MAX_BYTES = 64 * 1024  # of a refusal


def _bearing(token: Optional[str]) -> Dict[str, str]:
    return {"Authorization": "Bearer " + token} if token else {}


class _Common:
    """What both kinds are made of. `thread`: one id, or up to 32 on one connection.
    `since`: a position, "0", "now", "run" (the default). `token`: a bearer token, or a
    function that gives one, asked before every connection, and when the bridge says that it
    ends soon, to lengthen the open stream. `ticket`: instead, what POST /v1/tickets gave;
    the bridge renews it while the stream lives. `merge=False`: neighbouring tokens are never
    merged. `on_notice` is called in the order of the stream, between the
    events. `silence_s`: so long may the bridge say nothing (three of its keepalives).
    `give_up_s`: without a stream for so long it is Unavailable; None: never. `http`: a
    client of your own, with your proxies and certificates."""

    def __init__(self, base: str, *, thread: Union[str, Sequence[str], None] = None,
                 run: Optional[str] = None, since: str = "", token: Any = None,
                 ticket: str = "", headers: Optional[Mapping[str, str]] = None, merge: bool = True,
                 on_notice: Optional[Callable[[Notice], Any]] = None, silence_s: float = 45,
                 give_up_s: Optional[float] = None, http: Any = None) -> None:
        path, self._query = path_of(thread, run, merge)
        root = base.rstrip("/")
        self._url, self._extend_url = httpx.URL(root + path), root + "/v1/session/extend"
        if self._url.scheme not in ("http", "https"):
            raise ValueError("the bridge's address begins with http:// or https://")
        self._course = Course(since, run or "", ticket)
        self._token, self._headers = token, dict(headers or {})
        self._on_notice, self._give_up_s = on_notice, give_up_s
        self._timeout = httpx.Timeout(silence_s, connect=min(_CONNECT_S, silence_s))
        self._http, self._ours = http, http is None
        self._why, self._lost_at = "", 0.0
        self._sent: Optional[str] = None  # the token of this connection
        self._closed = threading.Event()

    @property
    def position(self) -> str:
        """Behind the event given last: `since` of another subscription."""
        return self._course.position

    @property
    def duplicates(self) -> int:
        """Events that came twice and were dropped."""
        return self._course.duplicates

    @property
    def _over(self) -> bool:
        return self._course.over or self._closed.is_set()

    def _request(self, token: Optional[str]) -> Dict[str, Any]:
        headers, query = self._course.connect()
        own = {"Accept": "text/event-stream", "Accept-Encoding": "identity", **_bearing(token)}
        self._sent = token
        return {"method": "GET", "url": self._url, "timeout": self._timeout,
                "params": [*self._query, *query.items()],
                "headers": {**own, **self._headers, **headers}}

    def _opened(self, response: "httpx.Response", body: bytes) -> bool:
        """Is it a stream? `body` of what is none."""
        if is_stream(response.status_code, response.headers):
            self._why = "the stream ended"
            self._say("open")
            return True
        self._course.answered(response.status_code, body)
        self._why = "the bridge answers %d" % response.status_code
        return False

    def _said(self, parser: Parser, chunk: bytes) -> Iterator[Union[Event, str]]:
        """Events, and the names of connections to lengthen."""
        for block in parser.push(chunk):
            said = self._course.block(block, parser.retry_ms)
            if isinstance(said, Notice):
                self._tell(said)
                connection = self._course.extends(said)
                if connection and callable(self._token):
                    yield connection
            elif said:
                yield said
            if self._over:
                return

    def _extension(self, token: Optional[str], connection: str) -> Dict[str, Any]:
        self._sent = token
        return {"json": {"connection": connection}, "timeout": _EXTEND_S,
                "headers": {**self._headers, **_bearing(token)}}

    def _tell(self, notice: Notice) -> None:
        if self._on_notice:
            self._on_notice(notice)

    def _say(self, name: str, **data: Any) -> None:
        self._tell(Notice(name, data, self.position))

    def _trouble(self, error: Exception) -> None:
        """The connection was lost, or there was none. What is our own fault goes on."""
        if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
            raise error
        self._why = "%s: %s" % (type(error).__name__, error)

    def _lost_s(self) -> float:
        """How long to wait; Unavailable when that is too long."""
        now = time.monotonic()
        if not self._course.failing:
            self._lost_at = now
        self._say("lost", reason=self._why)
        wait_s = self._course.lost_s()
        if self._give_up_s is not None and now + wait_s - self._lost_at > self._give_up_s:
            raise Unavailable("no stream from the bridge for %g s: %s"
                              % (self._give_up_s, self._why))
        return wait_s


class Subscription(_Common):
    """Iterate it, in a `with` block. Another thread may close() it, which counts with the
    next bytes: a keepalive at the latest."""

    def __init__(self, base: str, *, token: Optional[Token] = None, **options: Any) -> None:
        super().__init__(base, token=token, **options)
        self._events = self._all()

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()
        self._events.close()
        if self._ours and self._http:
            self._http.close()

    def close(self) -> None:
        """Ends the iteration."""
        self._closed.set()

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def _all(self) -> Generator[Event, None, None]:
        self._http = self._http or httpx.Client()
        while not self._over:
            response = self._open()
            try:
                if response and self._opened(response, self._body(response)):
                    yield from self._read(response)
            finally:
                if response:
                    response.close()
            if not self._over:
                self._closed.wait(self._lost_s())

    def _read(self, response: "httpx.Response") -> Iterator[Event]:
        parser, chunks = Parser(), response.iter_bytes()
        while not self._over:
            try:
                chunk = next(chunks)
            except StopIteration:
                return
            except httpx.RequestError as e:
                return self._trouble(e)
            for said in self._said(parser, chunk):
                if isinstance(said, Event):
                    yield said
                else:
                    self._extend(said)

    def _extend(self, connection: str) -> None:
        """The token ends soon: lengthens the open stream with the next one. When that does
        not work, the stream ends with its token, and the next connection asks again."""
        token = self._bearer()
        if token and token != self._sent:
            try:
                self._http.post(self._extend_url, **self._extension(token, connection))
            except httpx.RequestError:
                pass

    def _body(self, response: "httpx.Response") -> bytes:
        body = b""
        if is_stream(response.status_code, response.headers):
            return body
        try:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _BODY_MAX_BYTES:
                    break
        except httpx.RequestError:
            pass  # the status says enough
        return body

    def _open(self) -> Optional["httpx.Response"]:
        token = self._bearer()
        response = self._send(token)
        if response is not None and response.status_code == 401:
            newer = self._bearer()
            if newer != token:
                response.close()
                response = self._send(newer)
        return response

    def _bearer(self) -> Optional[str]:
        token: Optional[str] = self._token() if callable(self._token) else self._token
        return token

    def _send(self, token: Optional[str]) -> Optional["httpx.Response"]:
        http: httpx.Client = self._http
        try:
            return http.send(http.build_request(**self._request(token)), stream=True)
        except httpx.RequestError as e:
            self._trouble(e)
            return None


class AsyncSubscription(_Common):
    """Iterate it, in an `async with` block. Mirrors Subscription word for word."""

    def __init__(self, base: str, *, token: Optional[AsyncToken] = None,
                 **options: Any) -> None:
        super().__init__(base, token=token, **options)
        self._events = self._all()

    async def __aenter__(self) -> "AsyncSubscription":
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]],
                        error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        self._closed.set()
        await self._events.aclose()
        if self._ours and self._http:
            await self._http.aclose()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    async def _all(self) -> AsyncGenerator[Event, None]:
        self._http = self._http or httpx.AsyncClient()
        while not self._over:
            response = await self._open()
            try:
                if response and self._opened(response, await self._body(response)):
                    async for event in self._read(response):
                        yield event
            finally:
                if response:
                    await response.aclose()
            if not self._over:
                await asyncio.sleep(self._lost_s())

    async def _read(self, response: "httpx.Response") -> AsyncIterator[Event]:
        parser, chunks = Parser(), response.aiter_bytes()
        while not self._over:
            try:
                chunk = await chunks.__anext__()
            except StopAsyncIteration:
                return
            except httpx.RequestError as e:
                self._trouble(e)
                return
            for said in self._said(parser, chunk):
                if isinstance(said, Event):
                    yield said
                else:
                    await self._extend(said)

    async def _extend(self, connection: str) -> None:
        token = await self._bearer()
        if token and token != self._sent:
            try:
                await self._http.post(self._extend_url, **self._extension(token, connection))
            except httpx.RequestError:
                pass

    async def _body(self, response: "httpx.Response") -> bytes:
        body = b""
        if is_stream(response.status_code, response.headers):
            return body
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _BODY_MAX_BYTES:
                    break
        except httpx.RequestError:
            pass  # the status says enough
        return body

    async def _open(self) -> Optional["httpx.Response"]:
        token = await self._bearer()
        response = await self._send(token)
        if response is not None and response.status_code == 401:
            newer = await self._bearer()
            if newer != token:
                await response.aclose()
                response = await self._send(newer)
        return response

    async def _bearer(self) -> Optional[str]:
        token = self._token() if callable(self._token) else self._token
        found: Optional[str] = await token if inspect.isawaitable(token) else token
        return found

    async def _send(self, token: Optional[str]) -> Optional["httpx.Response"]:
        http: httpx.AsyncClient = self._http
        try:
            return await http.send(http.build_request(**self._request(token)), stream=True)
        except httpx.RequestError as e:
            self._trouble(e)
            return None
