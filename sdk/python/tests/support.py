"""A real Redis for the tests (the harness of tests/publish) and a reader's view of a run."""

import asyncio
import json
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SDK = os.path.dirname(HERE)
ROOT = os.path.dirname(os.path.dirname(SDK))
for folder in (SDK, os.path.join(ROOT, "tests", "publish")):
    if folder not in sys.path:
        sys.path.insert(0, folder)

import redis.asyncio  # noqa: E402
from redis_server import RedisServer, wait_for  # noqa: E402,F401


class Reader:
    """What somebody sees who reads the log of a thread from its beginning."""

    def __init__(self, client, thread="t1", prefix=""):
        self.events = []
        for entry_id, fields in client.xrange("%s{thread:%s}:log" % (prefix, thread)):
            event = json.loads(fields[b"e"])
            assert event["id"] == entry_id.decode() and event["threadId"] == thread
            self.events.append(event)

    def of(self, run_id):
        """The events that count: from the last `started` or `rewind` on."""
        mine = [e for e in self.events if e.get("runId") == run_id]
        for index in range(len(mine) - 1, -1, -1):
            content = mine[index]["content"]
            if mine[index]["type"] == "status" and content["status"] in ("started", "rewind"):
                return mine[index:]
        return []

    def text(self, run_id):
        return "".join(e["content"] for e in self.of(run_id) if e["type"] == "token")

    def shapes(self, run_id=None):
        """Short words for a whole log: status:started token:Hel delta:usage done:stop"""
        def shape(e):
            content = e["content"]
            if e["type"] == "token":
                return "token:" + content
            word = {"status": "status", "delta": "kind", "done": "finishReason",
                    "error": "code"}[e["type"]]
            return "%s:%s" % (e["type"], content[word])
        events = self.events if run_id is None else self.of(run_id)
        return [shape(e) for e in events]


class WithRedis(unittest.TestCase):
    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        cls.server = RedisServer(*cls.OPTIONS)
        cls.client = cls.server.client()

    @classmethod
    def tearDownClass(cls):
        cls.client.connection_pool.disconnect()
        cls.server.close()

    def setUp(self):
        self.client.flushall()

    def in_loop(self, main, **client_options):
        """Runs main(client) in a loop of its own, with an asyncio client."""
        async def whole():
            client = redis.asyncio.Redis(unix_socket_path=self.server.socket, **client_options)
            try:
                return await main(client)
            finally:
                await client.connection_pool.disconnect()
        return asyncio.run(whole())

    def publishers(self):
        return [c for c in self.client.client_list()
                if c["name"].startswith("threadcast-python:")]
