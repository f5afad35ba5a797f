"""LangChain's callbacks become events of a run:

    with threadcast.run(client, "t1") as run:
        chain.invoke(question, {"callbacks": [ThreadcastCallbackHandler(run)]})

    async with threadcast.run(client, "t1") as run:        # or a Job of threadcast.agent
        await chain.ainvoke(question, {"callbacks": [AsyncThreadcastCallbackHandler(run)]})

A model that can stream does so, with `invoke` too. What the run raises (somebody
cancelled it) ends the chain.
"""

from __future__ import annotations

import json
from typing import Any, Awaitable, Callable, Dict, Generic, List, Optional, Set, Tuple, TypeVar

from ._say import Say
from .callbacks import Callbacks

_Sync: Any = object
_Async: Any = object
try:
    import langchain_core.callbacks as _theirs  # type: ignore[import-not-found,unused-ignore]
    _Sync, _Async = _theirs.BaseCallbackHandler, _theirs.AsyncCallbackHandler
except ImportError:  # then nobody calls them but code of one's own
    pass

__all__ = ["ThreadcastCallbackHandler", "AsyncThreadcastCallbackHandler"]

Said = TypeVar("Said")
Saying = List[Callable[[], Said]]


def _texts(content: Any) -> Tuple[str, str]:
    """The text and the reasoning in a message's content: a string, or a list of blocks."""
    if isinstance(content, str):
        return content, ""
    text = reasoning = ""
    for block in content if isinstance(content, list) else []:
        if isinstance(block, str):
            text += block
        elif isinstance(block, dict):
            text += str(block.get("text") or "") if block.get("type") == "text" else ""
            reasoning += str(block.get("thinking") or block.get("reasoning") or "")
    return text, reasoning


def _plain(value: Any) -> Any:
    """A tool's output as JSON: a message's content, what JSON knows, or its text."""
    value = getattr(value, "content", value)
    try:
        json.dumps(value, allow_nan=False)
        return value
    except (TypeError, ValueError):
        return str(value)


def _usage(response: Any, message: Any) -> Optional[Tuple[int, int, Optional[int]]]:
    """As langchain-core has it in a message, or as models of OpenAI's kind tell it."""
    found: Any = getattr(message, "usage_metadata", None)
    if not found:
        output = getattr(response, "llm_output", None) or {}
        found = output.get("token_usage") or output.get("usage") or {}
    given = found.get("input_tokens", found.get("prompt_tokens"))
    made = found.get("output_tokens", found.get("completion_tokens"))
    if not isinstance(given, int) or not isinstance(made, int):
        return None
    total = found.get("total_tokens")
    return given, made, total if isinstance(total, int) else None


class _Course(Generic[Said]):
    """What each callback has to say; how it is said is for the handlers to know."""

    def __init__(self, run: Say[Said]) -> None:
        self.said = Callbacks(run)
        self._streamed: Set[str] = set()  # calls of models whose text was told
        self._tools: Dict[str, str] = {}  # LangChain's run of a tool → the call's id

    def started(self) -> Saying[Said]:
        return [self.said.on_start]

    def piece(self, token: Any, run_id: Any, chunk: Any) -> Saying[Said]:
        message = getattr(chunk, "message", None)
        text, thought = _texts(token)
        more = getattr(message, "additional_kwargs", None) or {}
        thought += str(more.get("reasoning_content") or "")
        if not thought and message is not None and not text:
            text, thought = _texts(getattr(message, "content", ""))
        says: Saying[Said] = []
        if thought:
            says.append(lambda: self.said.on_reasoning(thought))
        if text:
            self._streamed.add(str(run_id))
            says.append(lambda: self.said.on_token(text))
        return says

    def ended(self, response: Any, run_id: Any) -> Saying[Said]:
        generations = getattr(response, "generations", None) or [[]]
        first = generations[0][0] if generations[0] else None
        says: Saying[Said] = []
        if str(run_id) not in self._streamed and first is not None:
            text = str(getattr(first, "text", "") or "")
            if text:  # a model that does not stream
                says.append(lambda: self.said.on_token(text))
        self._streamed.discard(str(run_id))
        usage = _usage(response, getattr(first, "message", None))
        if usage:
            says.append(lambda: self.said.on_usage(*usage))
        return says

    def failed(self, error: BaseException, run_id: Any) -> Saying[Said]:
        self._streamed.discard(str(run_id))
        return [lambda: self.said.on_error(error)]

    def tool(self, serialized: Any, text: str, run_id: Any, more: Dict[str, Any]) -> Saying[Said]:
        name = str((serialized or {}).get("name") or more.get("name") or "tool")
        inputs = more.get("inputs")
        arguments = inputs if isinstance(inputs, dict) and _plain(inputs) is inputs else text
        call = str(more.get("tool_call_id") or run_id)
        self._tools[str(run_id)] = call
        return [lambda: self.said.on_tool_start(name, arguments, call)]

    def tool_ended(self, output: Any, run_id: Any) -> Saying[Said]:
        call = self._tools.pop(str(run_id), str(run_id))
        if getattr(output, "status", "") == "error":
            return [lambda: self.said.on_tool_error(call)]
        return [lambda: self.said.on_tool_end(call, _plain(output))]

    def tool_failed(self, run_id: Any) -> Saying[Said]:
        call = self._tools.pop(str(run_id), str(run_id))
        return [lambda: self.said.on_tool_error(call)]


class _Streams:
    """By these two methods langchain-core knows a handler for whom models stream."""

    def tap_output_iter(self, run_id: Any, output: Any) -> Any:
        return output

    def tap_output_aiter(self, run_id: Any, output: Any) -> Any:
        return output


class ThreadcastCallbackHandler(_Streams, _Sync):  # type: ignore[misc]
    """For a Run; see the module."""

    raise_error = True  # a cancelled run ends the chain
    run_inline = True

    def __init__(self, run: Say[None]) -> None:
        super().__init__()
        self._course = _Course(run)

    def _all(self, says: Saying[None]) -> None:
        for say in says:
            say()

    def on_llm_start(self, serialized: Any, prompts: Any, **_: Any) -> None:
        self._all(self._course.started())

    def on_chat_model_start(self, serialized: Any, messages: Any, **_: Any) -> None:
        self._all(self._course.started())

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: Any = None,
                         **_: Any) -> None:
        self._all(self._course.piece(token, run_id, chunk))

    def on_llm_end(self, response: Any, *, run_id: Any = None, **_: Any) -> None:
        self._all(self._course.ended(response, run_id))

    def on_llm_error(self, error: BaseException, *, run_id: Any = None, **_: Any) -> None:
        self._all(self._course.failed(error, run_id))

    def on_tool_start(self, serialized: Any, input_str: str, *, run_id: Any = None,
                      **more: Any) -> None:
        self._all(self._course.tool(serialized, input_str, run_id, more))

    def on_tool_end(self, output: Any, *, run_id: Any = None, **_: Any) -> None:
        self._all(self._course.tool_ended(output, run_id))

    def on_tool_error(self, error: BaseException, *, run_id: Any = None, **_: Any) -> None:
        self._all(self._course.tool_failed(run_id))


class AsyncThreadcastCallbackHandler(_Streams, _Async):  # type: ignore[misc]
    """For an AsyncRun, or a Job of threadcast.agent; see the module."""

    raise_error = True
    run_inline = True

    def __init__(self, run: Say[Awaitable[None]]) -> None:
        super().__init__()
        self._course = _Course(run)

    async def _all(self, says: Saying[Awaitable[None]]) -> None:
        for say in says:
            await say()

    async def on_llm_start(self, serialized: Any, prompts: Any, **_: Any) -> None:
        await self._all(self._course.started())

    async def on_chat_model_start(self, serialized: Any, messages: Any, **_: Any) -> None:
        await self._all(self._course.started())

    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: Any = None,
                               **_: Any) -> None:
        await self._all(self._course.piece(token, run_id, chunk))

    async def on_llm_end(self, response: Any, *, run_id: Any = None, **_: Any) -> None:
        await self._all(self._course.ended(response, run_id))

    async def on_llm_error(self, error: BaseException, *, run_id: Any = None,
                           **_: Any) -> None:
        await self._all(self._course.failed(error, run_id))

    async def on_tool_start(self, serialized: Any, input_str: str, *, run_id: Any = None,
                            **more: Any) -> None:
        await self._all(self._course.tool(serialized, input_str, run_id, more))

    async def on_tool_end(self, output: Any, *, run_id: Any = None, **_: Any) -> None:
        await self._all(self._course.tool_ended(output, run_id))

    async def on_tool_error(self, error: BaseException, *, run_id: Any = None,
                            **_: Any) -> None:
        await self._all(self._course.tool_failed(run_id))
