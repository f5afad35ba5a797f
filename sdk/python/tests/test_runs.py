"""Runs and outside events against a real Redis, over redis.Redis."""

import threading
import unittest
import uuid

import redis

import threadcast
from support import Reader, RedisServer, WithRedis, wait_for


class SyncRuns(WithRedis):
    def test_an_answer(self):
        with threadcast.run(self.client, "t1", agent_id="poet") as run:
            run.token("Hel")
            run.token("lo ")
            run.token("Österreich 🇦🇹")
            run.usage(3, 4)
        reader = Reader(self.client)
        self.assertEqual(reader.text(run.run_id), "Hello Österreich 🇦🇹")
        self.assertEqual(run.text, "Hello Österreich 🇦🇹")
        self.assertEqual(reader.shapes()[0], "status:started")
        self.assertEqual(reader.shapes()[-2:], ["delta:usage", "done:stop"])
        usage = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
        self.assertEqual(reader.events[-1]["content"], {
            "messageId": run.message_id, "finishReason": "stop", "usage": usage})
        for event in reader.events:
            self.assertEqual(
                [event[k] for k in ("threadId", "runId", "agentId", "messageId", "attempt")],
                ["t1", run.run_id, "poet", run.message_id, 1])
        self.assertEqual(str(uuid.UUID(run.run_id)), run.run_id)
        self.assertNotEqual(run.run_id, run.message_id)

    def test_everything_it_can_say(self):
        with threadcast.run(self.client, "t1") as run:
            run.status("thinking", about="it")
            run.reasoning("so ")
            run.reasoning("and so")
            run.tool_call("search", {"q": "x"}, "c1")
            run.progress(1, 2, unit="pages")
            run.tool_result("c1", ["a", None])
            run.tool_result("c2", "no", is_error=True)
            run.delta("milestone", title="found")
            run.token("done")
            run.finish_reason = "length"
        contents = [e["content"] for e in Reader(self.client).events]
        reasoning = "".join(c["text"] for c in contents if "text" in c)
        self.assertEqual(reasoning, "so and so")
        rest = [c for c in contents if "text" not in c]
        self.assertEqual(rest, [
            {"status": "started"}, {"status": "thinking", "about": "it"},
            {"kind": "tool_call", "toolCallId": "c1", "name": "search",
             "arguments": {"q": "x"}},
            {"kind": "progress", "completed": 1, "total": 2, "unit": "pages"},
            {"kind": "tool_result", "toolCallId": "c1", "result": ["a", None]},
            {"kind": "tool_result", "toolCallId": "c2", "result": "no", "isError": True},
            {"kind": "milestone", "title": "found"}, "done",
            {"messageId": run.message_id, "finishReason": "length"}])

    def test_the_first_token_is_there_before_the_next_is_made(self):
        with threadcast.run(self.client, "t1", flush_ms=10000) as run:
            run.token("first")
            wait_for("the first token", lambda: Reader(self.client).text(run.run_id))
            for _ in range(500):
                run.token("x")
        self.assertEqual(Reader(self.client).shapes(), [
            "status:started", "token:first", "token:" + "x" * 500, "done:stop"])

    def test_tokens_that_wait_leave_by_themselves(self):
        with threadcast.run(self.client, "t1", flush_ms=30) as run:
            run.token("a")
            run.token("b")
            wait_for("both", lambda: Reader(self.client).text(run.run_id) == "ab")

    def test_flush(self):
        with threadcast.run(self.client, "t1") as run:
            for i in range(20):
                run.token(str(i))
                run.flush()
                self.assertEqual(Reader(self.client).text(run.run_id), run.text)

    def test_an_exception_ends_it_with_an_error(self):
        with self.assertRaisesRegex(KeyError, "secret"):
            with threadcast.run(self.client, "t1") as run:
                run.token("Hel")
                raise KeyError("secret")
        reader = Reader(self.client)
        self.assertEqual(reader.shapes(), ["status:started", "token:Hel", "error:agent_error"])
        self.assertEqual(reader.events[-1]["content"], {
            "code": "agent_error", "message": "The agent failed.", "retryable": False})

    def test_an_agent_says_its_own_error(self):
        with self.assertRaises(threadcast.AgentError):
            with threadcast.run(self.client, "t1"):
                raise threadcast.AgentError("Out of paper.", code="paper", retryable=True)
        self.assertEqual(Reader(self.client).events[-1]["content"], {
            "code": "paper", "message": "Out of paper.", "retryable": True})

    def test_ctrl_c_cancels(self):
        for error in (KeyboardInterrupt, SystemExit):
            self.client.flushall()
            with self.assertRaises(error):
                with threadcast.run(self.client, "t1") as run:
                    run.token("Hel")
                    raise error
            self.assertEqual(Reader(self.client).shapes(), [
                "status:started", "token:Hel", "status:cancelled", "done:cancelled"])

    def test_taken_over_by_a_higher_attempt(self):
        with self.assertRaises(threadcast.Fenced) as caught:
            with threadcast.run(self.client, "t1", run_id="r1") as old:
                old.token("old")
                old.flush()
                with threadcast.run(self.client, "t1", run_id="r1", attempt=2) as new:
                    new.token("new")
                    new.flush()
                    old.token("more")
                    old.flush()
        self.assertEqual(caught.exception.attempt, 2)
        reader = Reader(self.client)
        # `new` was left by the exception, and says so
        self.assertEqual(reader.shapes("r1"), [
            "status:rewind", "token:new", "error:agent_error"])
        with self.assertRaises(threadcast.Ended):
            with threadcast.run(self.client, "t1", run_id="r1", attempt=3):
                self.fail("it has ended")

    def test_a_late_attempt_does_not_begin(self):
        with threadcast.run(self.client, "t1", run_id="r1", attempt=2):
            with self.assertRaises(threadcast.Fenced):
                with threadcast.run(self.client, "t1", run_id="r1", attempt=1):
                    self.fail("it was taken over")

    def test_an_agent_that_ignores_refusals_is_told_at_the_end(self):
        with self.assertRaises(threadcast.Ended):
            with threadcast.run(self.client, "t1", run_id="r1") as run:
                run.flush()
                self.client.hset("{thread:t1}:state", "x:r1", "1 5-1 5-2")
                try:
                    run.token("x")
                    run.flush()
                except threadcast.Ended:
                    pass

    def test_lost_logs_are_told_anew(self):
        with threadcast.run(self.client, "t1") as run:
            run.token("Hello ")
            run.tool_call("f", {}, "c1")
            run.flush()
            self.client.flushall()
            run.token("there")
        reader = Reader(self.client)
        self.assertEqual(reader.shapes(), [
            "status:rewind", "delta:tool_call", "token:Hello there", "done:stop"])

    def test_a_script_redis_does_not_know(self):
        with threadcast.run(self.client, "t1") as run:
            for text in ("a", "b", "c"):
                self.client.script_flush()
                run.token(text)
                run.flush()
        self.assertEqual(Reader(self.client).text(run.run_id), "abc")

    def test_one_named_connection_a_run_one_for_all_and_none_afterwards(self):
        with threadcast.run(self.client, "t1"), threadcast.run(self.client, "t1"):
            names = [c["name"].rsplit(":", 1)[1] for c in self.publishers()]
            self.assertEqual(sorted(names), ["control", "publish", "publish"])
        wait_for("the connections to go", lambda: not self.publishers())

    def test_clients_of_every_kind(self):
        pool = redis.BlockingConnectionPool.from_url(
            "unix://%s?db=3" % self.server.socket, decode_responses=True, max_connections=1,
            health_check_interval=1)
        client = redis.Redis(connection_pool=pool)
        with threadcast.run(client, "t1", prefix="app:") as run:
            run.token("x")
        self.assertEqual(self.client.dbsize(), 0)
        other = self.server.client(db=3)
        self.assertEqual(Reader(other, prefix="app:").text(run.run_id), "x")
        self.assertEqual(threadcast.publish(client, "t1", {
            "type": "delta", "content": {"kind": "x"}}, prefix="app:").last[-2:], "-4")
        pool.disconnect()
        other.connection_pool.disconnect()

    def test_rights(self):
        self.client.execute_command("ACL", "SETUSER", "agent", "reset", "on", ">pw", "+@all",
                                    "~*", "&other")
        denied = self.server.client(username="agent", password="pw")
        with self.assertRaisesRegex(threadcast.Refused, "NOPERM"):
            with threadcast.run(denied, "t1"):
                self.fail("it may not publish")
        wrong = self.server.client(username="agent", password="wrong")
        with self.assertRaises(threadcast.Refused):
            with threadcast.run(wrong, "t1"):
                self.fail("it may not connect")
        self.assertEqual(self.client.keys(), [])

    def test_a_full_redis_passes(self):
        self.client.config_set("maxmemory", 1)
        threading.Timer(0.2, lambda: self.client.config_set("maxmemory", 0)).start()
        with threadcast.run(self.client, "t1") as run:
            run.token("x")
        self.assertEqual(Reader(self.client).text(run.run_id), "x")

    def test_no_redis(self):
        nobody = redis.Redis(unix_socket_path="/nonexistent/redis.sock")
        with self.assertRaises(threadcast.Unavailable):
            with threadcast.run(nobody, "t1", give_up_s=0.1):
                self.fail("there is no Redis")
        with self.assertRaises(threadcast.Unavailable):
            threadcast.publish(nobody, "t1", {"type": "token", "content": ""}, give_up_s=0.1)

    def test_redis_goes_for_good(self):
        server = RedisServer()
        self.addCleanup(server.close)
        with self.assertRaises(threadcast.Unavailable):
            with threadcast.run(server.client(), "t1", give_up_s=0.2) as run:
                run.token("x")
                run.flush()
                server.kill()
                run.token("y")
                run.flush()

    def test_the_agents_own_exception_goes_first(self):
        server = RedisServer()
        self.addCleanup(server.close)
        with self.assertRaises(KeyError):
            with threadcast.run(server.client(), "t1", give_up_s=0.1):
                server.kill()
                raise KeyError

    def test_an_agent_that_floods_waits(self):
        limits = threadcast.Limits(max_events=1000, max_bytes=50_000_000)
        with threadcast.run(self.client, "t1", limits=limits, give_up_s=60) as run:
            self.client.execute_command("CLIENT", "PAUSE", "300", "WRITE")
            most = 0
            for _ in range(100):
                run.token("x" * 32768)
                most = max(most, run._story.waiting_bytes)
        self.assertLess(most, 1024 * 1024 + 65536)
        self.assertEqual(len(Reader(self.client).text(run.run_id)), 100 * 32768)

    def test_arguments_that_make_no_sense(self):
        for thread in ("", "a b", "ä", "x" * 129, "a/b", "*", None, 7, "a\n"):
            with self.subTest(thread=thread), self.assertRaisesRegex(ValueError, "thread"):
                threadcast.run(self.client, thread)
        for name in ("run_id", "message_id", "agent_id"):
            for value in ("", "a b", "é", "x" * 129, 'a"'):
                with self.subTest(name), self.assertRaisesRegex(ValueError, name):
                    threadcast.run(self.client, "t1", **{name: value})
        for wrong in ({"attempt": 0}, {"attempt": "1"}, {"prefix": "a{b"}, {"flush_ms": -1}):
            with self.subTest(wrong), self.assertRaises(ValueError):
                threadcast.run(self.client, "t1", **wrong)
        with self.assertRaises(ValueError):
            threadcast.Limits(max_events=0)
        with self.assertRaisesRegex(TypeError, "redis.Redis"):
            threadcast.run(object(), "t1")
        with self.assertRaisesRegex(RuntimeError, "inside"):
            threadcast.run(self.client, "t1").token("x")
        with threadcast.run(self.client, "t1") as run:
            with self.assertRaisesRegex(ValueError, "status"):
                run.status("started")
            with self.assertRaisesRegex(ValueError, "kind"):
                run.delta("")
            with self.assertRaises(threadcast.EventTooLarge):
                run.delta("x", data="y" * 300000)
        with self.assertRaisesRegex(RuntimeError, "over"):
            run.token("x")
        self.assertEqual(Reader(self.client).shapes(), ["status:started", "done:stop"])


class SyncOutside(WithRedis):
    EVENT = {"type": "delta", "content": {"kind": "x"}}

    def publish(self, *args, **kwargs):
        return threadcast.publish(self.client, *args, **kwargs)

    def test_one_and_several(self):
        one = self.publish("t1", self.EVENT)
        self.assertEqual((one.first, one.repeated), (one.last, False))
        several = self.publish("t1", [
            {"type": "token", "content": "a", "ts": 7, "id": "9-9", "runId": "r", "extra": 1},
            {"type": "status", "content": {"status": "typing"}, "threadId": "t1"}])
        events = Reader(self.client).events
        self.assertEqual([e["id"] for e in events], [one.first, several.first, several.last])
        self.assertEqual(events[1], {
            "id": several.first, "type": "token", "threadId": "t1", "content": "a", "ts": 7,
            "runId": "r", "extra": 1})
        self.assertIsInstance(events[0]["ts"], int)

    def test_an_idempotency_key(self):
        first = self.publish("t1", self.EVENT, idempotency_key="k")
        again = self.publish("t1", self.EVENT, idempotency_key="k")
        self.assertEqual(again, first._replace(repeated=True))
        with self.assertRaises(threadcast.Conflict):
            self.publish("t1", {"type": "token", "content": ""}, idempotency_key="k")
        self.assertEqual(len(Reader(self.client).events), 1)

    def test_a_run_that_has_a_publisher(self):
        with threadcast.run(self.client, "t1", run_id="r1"):
            with self.assertRaises(threadcast.Taken):
                self.publish("t1", [self.EVENT, {**self.EVENT, "runId": "r1"}])
        self.assertEqual(Reader(self.client).shapes(), ["status:started", "done:stop"])

    def test_what_is_no_event(self):
        for wrong in ({}, {"type": "x", "content": ""}, {"type": "token"}, [],
                      {"type": "token", "content": 7}, {**self.EVENT, "threadId": "t2"},
                      {**self.EVENT, "ts": "now"}, {**self.EVENT, "runId": "a b"},
                      {**self.EVENT, "attempt": 0}, {"type": "token", "content": "x" * 262144}):
            with self.subTest(str(wrong)[:60]), self.assertRaises(ValueError):
                self.publish("t1", wrong)
        with self.assertRaises(TypeError):
            self.publish("t1", [7])
        self.assertEqual(self.client.keys(), [])


if __name__ == "__main__":
    unittest.main()
