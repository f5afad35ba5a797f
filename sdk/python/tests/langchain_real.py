"""Run by test_langchain.py in an environment that has langchain-core: its own models,
tools and chains call the handlers. The argument is the socket of a Redis."""

import asyncio
import sys

from support import Reader  # first: it puts the package into sys.path

import langchain_core
import redis
import redis.asyncio
import threadcast
from langchain_core.language_models.fake_chat_models import (
    FakeListChatModel, FakeListChatModelError, GenericFakeChatModel)
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from threadcast.langchain import AsyncThreadcastCallbackHandler, ThreadcastCallbackHandler

SOCKET = sys.argv[1]
client = redis.Redis(unix_socket_path=SOCKET)


class Counting(GenericFakeChatModel):
    """Streams as the fake does, and tells at its end what it used."""

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        yield from super()._stream(messages, stop, run_manager, **kwargs)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata={
            "input_tokens": 4, "output_tokens": 3, "total_tokens": 7}))


def model(text="Vienna it is"):
    return Counting(messages=iter([AIMessage(content=text)]))


@tool
def double(number: int) -> int:
    """Doubles a number."""
    return 2 * number


@tool
def broken(number: int) -> int:
    """Fails."""
    raise ValueError("a secret")


prompt = ChatPromptTemplate.from_messages([("human", "{question}")])


def chain(text="Vienna it is"):
    return prompt | model(text) | StrOutputParser()


def expect(what, found, wanted):
    if found != wanted:
        sys.exit("%s:\n  found  %r\n  wanted %r" % (what, found, wanted))


def check(what, text="Vienna it is"):
    """One answer of one model, whichever way it was asked."""
    reader = Reader(client)
    (run_id,) = {e["runId"] for e in reader.events}
    expect(what, reader.text(run_id), text)
    shapes = [s for s in reader.shapes() if not s.startswith("token:")]
    expect(what, shapes, ["status:started", "status:thinking", "delta:usage", "done:stop"])
    expect(what, reader.events[-1]["content"]["usage"],
           {"inputTokens": 4, "outputTokens": 3, "totalTokens": 7})
    client.flushall()


def sync_ways():
    ways = {
        "invoke": lambda c: chain().invoke({"question": "?"}, c),
        "stream": lambda c: list(chain().stream({"question": "?"}, c)),
        "batch": lambda c: chain().batch([{"question": "?"}], c),
    }
    for what, ask in ways.items():
        pieces = []
        with threadcast.run(client, "t1", flush_ms=0) as run:
            handler = ThreadcastCallbackHandler(run)
            told = run.token
            run.token = lambda text: (pieces.append(text), told(text))[1]
            ask({"callbacks": [handler]})
        expect(what + " streamed", pieces, ["Vienna", " ", "it", " ", "is"])
        check(what)


def tools():
    with threadcast.run(client, "t1") as run:
        config = {"callbacks": [ThreadcastCallbackHandler(run)]}
        expect("tool", double.invoke({"number": 21}, config), 42)
        run.flush()
        try:
            broken.invoke({"number": 1}, config)
            sys.exit("broken did not fail")
        except ValueError:
            pass
    contents = [e["content"] for e in Reader(client).events if e["type"] == "delta"]
    expect("kinds", [c["kind"] for c in contents],
           ["tool_call", "tool_result", "tool_call", "tool_result"])
    expect("call", (contents[0]["name"], contents[0]["arguments"]), ("double", {"number": 21}))
    expect("result", (contents[1]["result"], contents[1]["toolCallId"]),
           (42, contents[0]["toolCallId"]))
    expect("error", contents[3]["isError"], True)
    expect("secret", "a secret" in str(contents), False)
    client.flushall()


def failure():
    failing = FakeListChatModel(responses=["abcdef"], error_on_chunk_number=2)
    try:
        with threadcast.run(client, "t1") as run:
            list(failing.stream("?", {"callbacks": [ThreadcastCallbackHandler(run)]}))
        sys.exit("no failure")
    except FakeListChatModelError:
        pass
    expect("failure", Reader(client).shapes(), ["status:started", "status:thinking",
           "token:ab", "delta:activity", "error:agent_error"])
    client.flushall()


async def async_ways():
    other = redis.asyncio.Redis(unix_socket_path=SOCKET)

    async def stream(config):
        async for _ in chain().astream({"question": "?"}, config):
            pass
    for what, ask in {"ainvoke": lambda c: chain().ainvoke({"question": "?"}, c),
                      "astream": stream}.items():
        async with threadcast.run(other, "t1") as run:
            await ask({"callbacks": [AsyncThreadcastCallbackHandler(run)]})
        check(what)
    await other.connection_pool.disconnect()


def cancelled():
    endless = GenericFakeChatModel(messages=iter([AIMessage(content="on " * 100000)]))
    try:
        with threadcast.run(client, "t1") as run:
            client.publish("threadcast:control",
                           '{"type":"cancel","runId":"%s"}' % run.run_id)
            endless.invoke("?", {"callbacks": [ThreadcastCallbackHandler(run)]})
        sys.exit("it was not cancelled")
    except threadcast.Cancelled:
        pass
    expect("cancelled", Reader(client).shapes()[-1], "done:cancelled")
    client.flushall()


sync_ways()
tools()
failure()
asyncio.run(async_ways())
cancelled()
print("as expected with langchain-core", langchain_core.__version__)
