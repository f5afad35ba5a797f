"""threadcast.agent as a worker sees it: lines in, lines out. (The worker itself:
tests/e2e/poet.test.mjs.)"""

import json
import os
import signal
import subprocess
import sys
import threading
import unittest

from support import SDK

AGENT = r"""
import asyncio, sys
import threadcast
from threadcast.agent import serve

async def handle(job):
    word = job.content
    if word == "raise": raise ValueError("a secret")
    if word == "own": raise threadcast.AgentError("No paper.", code="paper", retryable=True)
    if word == "print":
        print("for the log")
        await job.token("said")
    if word == "told":
        await job.token("|".join([job.run_id, job.thread, job.agent_id, job.message_id,
            str(job.attempt), str(job.metadata), str(job.input), str(len(job.messages))]))
    if word == "all":
        await job.status("thinking")
        await job.reasoning("hm")
        await job.tool_call("t", {"a": 1}, "c1")
        await job.tool_result("c1", [1])
        await job.progress(1, 2)
        await job.usage(3, 4)
        await job.token("x")
        job.finish_reason = "length"
    if word == "long": await job.token("\U0001f30d" * 40000)
    if word == "half": await job.token("\ud83d")
    if word in ("wait", "count"):
        await job.token("waiting")
        i = 0
        while True:
            await asyncio.sleep(0.001)
            if word == "count":
                i += 1
                await job.token("%d" % i)

async def words(job):
    for word in job.content.split():
        yield word

serve(words if sys.argv[1:] else handle)
"""


def run_id(number):
    return "00000000-0000-4000-8000-%012d" % number


def told(number, content, **more):
    return {"runId": run_id(number), "threadId": "t1", "agentId": "a", "attempt": 1,
            "messageId": run_id(100 + number), "messages": [{}, {}],
            "message": {"id": run_id(200), "content": content, "metadata": {"k": 1}}, **more}


class Agent:
    def __init__(self, *args):
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-c", AGENT, *args], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": SDK})
        self.watch = threading.Timer(30, self.process.kill)
        self.watch.start()

    def tell(self, line):
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self):
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read().decode()
        return json.loads(line)

    def until_end(self, number):
        lines = []
        while not lines or lines[-1]["type"] not in ("done", "error"):
            line = self.hear()
            assert line["runId"] == run_id(number), line
            lines.append(line)
        return lines

    def close(self):
        """Its exit code and what it wrote to stderr."""
        self.process.stdin.close()
        rest, errors = self.process.stdout.read(), self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()
        self.watch.cancel()
        return self.process.wait(), rest, errors


class Persistent(unittest.TestCase):
    def setUp(self):
        self.agent = Agent()
        self.agent.tell({"type": "hello", "protocol": 1, "agentId": "a", "runsAtOnce": 9})
        self.assertEqual(self.agent.hear(), {"type": "ready", "protocol": 1})

    def tearDown(self):
        code, rest, errors = self.agent.close()
        self.assertEqual((code, rest), (0, b""), errors)

    def ask(self, number, content, **more):
        self.agent.tell({"type": "run", **told(number, content, **more)})

    def test_what_it_can_say(self):
        self.ask(1, "all")
        lines = self.agent.until_end(1)
        usage = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
        self.assertEqual([(line["type"], line["content"]) for line in lines], [
            ("status", {"status": "thinking"}),
            ("delta", {"kind": "reasoning", "text": "hm"}),
            ("delta", {"kind": "tool_call", "toolCallId": "c1", "name": "t",
                       "arguments": {"a": 1}}),
            ("delta", {"kind": "tool_result", "toolCallId": "c1", "result": [1]}),
            ("delta", {"kind": "progress", "completed": 1, "total": 2}),
            ("delta", {"kind": "usage", **usage}), ("token", "x"),
            ("done", {"finishReason": "length", "usage": usage})])

    def test_what_it_is_told(self):
        self.ask(1, "told", input=[7])
        self.assertEqual(self.agent.until_end(1)[0]["content"], "|".join(
            [run_id(1), "t1", "a", run_id(101), "1", "{'k': 1}", "[7]", "2"]))

    def test_ends(self):
        self.ask(1, "raise")
        self.assertEqual(self.agent.until_end(1)[-1]["content"], {
            "code": "agent_error", "message": "The agent failed.", "retryable": False})
        self.ask(2, "own")
        self.assertEqual(self.agent.until_end(2)[-1]["content"], {
            "code": "paper", "message": "No paper.", "retryable": True})
        self.ask(3, "print")  # nothing but lines on stdout
        self.assertEqual([line["type"] for line in self.agent.until_end(3)], ["token", "done"])

    def test_text_of_any_length_and_kind(self):
        self.ask(1, "long")
        lines = self.agent.until_end(1)
        self.assertEqual("".join(line["content"] for line in lines[:-1]), "\U0001f30d" * 40000)
        self.assertLess(max(len(json.dumps(line)) for line in lines), 252 * 1024)
        self.ask(2, "half")
        self.assertEqual(self.agent.until_end(2)[-1]["type"], "done")

    def test_side_by_side_and_cancelled(self):
        for number in (1, 2):
            self.ask(number, "wait")
            self.assertEqual(self.agent.hear()["content"], "waiting")
        self.ask(3, "own")
        self.agent.until_end(3)
        self.agent.tell({"type": "cancel", "runId": run_id(9)})  # nobody
        for number in (2, 1):
            self.agent.tell({"type": "cancel", "runId": run_id(number)})
            (end,) = self.agent.until_end(number)
            self.assertEqual(end["content"], {"finishReason": "cancelled"})

    def test_paused(self):
        self.ask(1, "count")
        self.agent.tell({"type": "pause", "runId": run_id(1)})
        self.ask(2, "own")  # when this is answered the pause was heard before it
        before = 0
        while True:
            line = self.agent.hear()
            if line["runId"] == run_id(2):
                break
            before += 1
        self.ask(3, "own")
        after = [self.agent.hear()]
        while after[-1]["runId"] != run_id(3):
            after.append(self.agent.hear())
        self.assertLessEqual(len(after), 2)  # one may have been on its way
        self.agent.tell({"type": "resume", "runId": run_id(1)})
        self.assertEqual(self.agent.hear()["runId"], run_id(1))
        self.agent.tell({"type": "cancel", "runId": run_id(1)})
        self.agent.until_end(1)


class Ends(unittest.TestCase):
    def test_one_process_a_message(self):
        agent = Agent()
        agent.tell(told(1, "all"))
        lines = agent.until_end(1)
        self.assertEqual((lines[-1]["type"], len(lines)), ("done", 8))
        self.assertEqual(agent.close()[:2], (0, b""))

    def test_a_generator_of_text(self):
        agent = Agent("words")
        agent.tell(told(1, "a b c"))
        self.assertEqual([line["content"] for line in agent.until_end(1)[:-1]], ["a", "b", "c"])
        self.assertEqual(agent.close()[0], 0)

    def test_stdin_ends_while_it_works(self):
        agent = Agent()
        agent.tell({"type": "hello", "protocol": 1})
        agent.hear()
        agent.tell({"type": "run", **told(1, "print")})
        code, rest, errors = agent.close()
        self.assertEqual((code, errors), (0, "for the log\n"))
        self.assertEqual([json.loads(line)["type"] for line in rest.splitlines()],
                         ["token", "done"])

    def test_sigterm(self):
        agent = Agent()
        agent.tell({"type": "hello", "protocol": 1})
        agent.hear()
        agent.tell({"type": "run", **told(1, "wait")})
        agent.hear()
        agent.process.send_signal(signal.SIGTERM)
        self.assertEqual(agent.until_end(1)[-1]["type"], "done")
        self.assertEqual(agent.close()[0], 0)

    def test_another_protocol(self):
        for line in ({"type": "hello", "protocol": 2}, ["nonsense"]):
            agent = Agent()
            agent.tell(line)
            self.assertNotEqual(agent.process.wait(), 0)
            self.assertEqual(agent.close()[1], b"")


if __name__ == "__main__":
    unittest.main()
