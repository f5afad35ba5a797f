"""The callbacks over runs in a real Redis: in the order in which langchain-core makes the
calls, and (THREADCAST_FULL=1) made by langchain-core itself, from PyPI, in a virtual
environment of its own."""

import json
import os
import subprocess
import sys
import threading
import types
import unittest
import uuid

import threadcast
from support import HERE, ROOT, SDK, Reader, WithRedis
from threadcast.callbacks import Callbacks
from threadcast.langchain import AsyncThreadcastCallbackHandler, ThreadcastCallbackHandler


def thing(**members):
    return types.SimpleNamespace(**members)


def result(text, usage=None, llm_output=None):
    message = thing(content=text, usage_metadata=usage)
    return thing(generations=[[thing(text=text, message=message)]], llm_output=llm_output)


def calls():
    """(method, arguments, keywords) of an agent that asks a model, a tool, and the model."""
    first, second, tool = (uuid.uuid4() for _ in range(3))
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    return [
        ("on_chat_model_start", ({}, [[]]), {"run_id": first, "parent_run_id": None}),
        ("on_llm_new_token", ("",), {"run_id": first, "chunk": thing(message=thing(
            content="", additional_kwargs={"reasoning_content": "look it up"}))}),
        ("on_llm_new_token", ([{"type": "thinking", "thinking": "!"}],),
         {"run_id": first, "chunk": None}),
        ("on_llm_new_token", ("Let me see. ",), {"run_id": first, "chunk": None}),
        ("on_llm_end", (result("Let me see. ", usage),), {"run_id": first}),
        ("on_tool_start", ({"name": "search"}, "{'q': 'x'}"),
         {"run_id": tool, "inputs": {"q": "x"}, "tool_call_id": "call-1"}),
        ("on_tool_end", (thing(content={"found": 1}, status="success"),), {"run_id": tool}),
        ("on_tool_start", ({}, "plain"), {"run_id": tool, "name": "print"}),
        ("on_tool_error", (ValueError("secret"),), {"run_id": tool}),
        ("on_llm_start", ({}, ["prompt"]), {"run_id": second}),
        ("on_llm_error", (ValueError("secret"),), {"run_id": second}),
        ("on_llm_start", ({}, ["prompt"]), {"run_id": second}),
        ("on_llm_end", (result("Vienna.", llm_output={"token_usage": {
            "prompt_tokens": 3, "completion_tokens": 4}}),), {"run_id": second}),
    ]


SHAPES = ["status:started", "status:thinking", "delta:reasoning", "delta:reasoning",
          "token:Let me see. ", "delta:usage", "delta:tool_call", "delta:tool_result", "delta:tool_call",
          "delta:tool_result", "status:thinking", "delta:activity", "status:thinking",
          "token:Vienna.", "delta:usage", "done:stop"]


class Course(WithRedis):
    def check(self):
        reader = Reader(self.client)
        self.assertEqual(reader.shapes(), SHAPES)
        contents = [e["content"] for e in reader.events if e["type"] in ("delta", "done")]
        self.assertEqual(contents[0]["text"] + contents.pop(1)["text"], "look it up!")
        self.assertEqual(contents[2], {"kind": "tool_call", "toolCallId": "call-1",
                                       "name": "search", "arguments": {"q": "x"}})
        self.assertEqual(contents[3], {"kind": "tool_result", "toolCallId": "call-1",
                                       "result": {"found": 1}})
        self.assertEqual((contents[4]["name"], contents[4]["arguments"]), ("print", "plain"))
        self.assertIs(contents[5]["isError"], True)
        self.assertEqual(contents[-1]["usage"],
                         {"inputTokens": 8, "outputTokens": 6, "totalTokens": 14})
        self.assertNotIn("secret", str(reader.events))

    def test_sync(self):
        with threadcast.run(self.client, "t1") as run:
            handler = ThreadcastCallbackHandler(run)
            for name, args, more in calls():
                getattr(handler, name)(*args, **more)
                run.flush()
        self.check()

    def test_async(self):
        async def main(client):
            async with threadcast.run(client, "t1") as run:
                handler = AsyncThreadcastCallbackHandler(run)
                for name, args, more in calls():
                    await getattr(handler, name)(*args, **more)
                    await run.flush()
        self.in_loop(main)
        self.check()

    def test_a_cancelled_run_ends_the_chain(self):
        stop = threading.Event()
        with self.assertRaises(threadcast.Cancelled):
            with threadcast.run(self.client, "t1") as run:
                handler = ThreadcastCallbackHandler(run)
                self.assertTrue(handler.raise_error)
                self.client.publish("threadcast:control",
                                    '{"type":"cancel","runId":"%s"}' % run.run_id)
                while not stop.wait(0.005):
                    handler.on_llm_new_token("on ", run_id=uuid.uuid4())
        self.assertEqual(Reader(self.client).shapes()[-1], "done:cancelled")

    def test_plain_callbacks(self):
        with threadcast.run(self.client, "t1") as run:
            said = Callbacks(run)
            for call in (said.on_start, lambda: said.on_reasoning("hm"),
                         lambda: said.on_token("a"),
                         lambda: said.on_tool_start("t", {"a": 1}, "c1"),
                         lambda: said.on_tool_end("c1", 2), lambda: said.on_tool_error("c1"),
                         lambda: said.on_error(ValueError("secret")),
                         lambda: said.on_usage(1, 2), lambda: said.on_usage(1, 2, 4)):
                call()
                run.flush()
        reader = Reader(self.client)
        self.assertEqual(reader.shapes(), [
            "status:started", "status:thinking", "delta:reasoning", "token:a",
            "delta:tool_call", "delta:tool_result", "delta:tool_result", "delta:activity",
            "delta:usage", "delta:usage", "done:stop"])
        self.assertEqual(reader.events[-1]["content"]["usage"],
                         {"inputTokens": 2, "outputTokens": 4, "totalTokens": 7})

    @unittest.skipUnless(os.environ.get("THREADCAST_FULL"), "from PyPI: THREADCAST_FULL=1")
    def test_the_real_one(self):
        home = os.path.join(ROOT, "build", "venv-langchain")
        python = os.path.join(home, "bin", "python")
        if subprocess.run([python, "-c", "import langchain_core"], capture_output=True,
                          check=False).returncode if os.path.exists(python) else True:
            subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", home],
                           check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", "langchain-core"],
                           check=True, timeout=300)
        done = subprocess.run([python, "-B", os.path.join(HERE, "langchain_real.py"),
                               self.server.socket], capture_output=True, timeout=120,
                              check=False, env={**os.environ, "LANGSMITH_TRACING": "false"})
        self.assertEqual(done.returncode, 0, done.stdout.decode() + done.stderr.decode())
        self.assertIn("as expected with langchain-core", done.stdout.decode())
        self.example(python)

    def example(self, python):
        """examples/agents/chain.py, as the worker starts it for one message."""
        job = {"runId": str(uuid.uuid4()), "threadId": "t1", "agentId": "chain", "attempt": 1,
               "messageId": str(uuid.uuid4()), "message": {"content": "one two", "metadata": {}},
               "messages": [{"role": "user", "content": "{a}"},
                            {"role": "assistant", "content": "b"}]}
        done = subprocess.run(
            [python, "-B", os.path.join(ROOT, "examples", "agents", "chain.py")],
            input=json.dumps(job).encode(), capture_output=True, timeout=60, check=True,
            env={**os.environ, "PYTHONPATH": SDK, "LANGSMITH_TRACING": "false"})
        said = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual("".join(e["content"] for e in said if e["type"] == "token"),
                         "Here a model would answer. You said 2 words.")
        self.assertGreater(len([e for e in said if e["type"] == "token"]), 5)
        self.assertEqual([e["content"]["kind"] for e in said if e["type"] == "delta"],
                         ["tool_call", "tool_result"])
        self.assertEqual(said[-1]["type"], "done")


if __name__ == "__main__":
    unittest.main()
