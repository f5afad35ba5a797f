"""Runs and outside events against a real Redis, over redis.asyncio.Redis."""

import asyncio
import unittest

import redis.asyncio

import threadcast
from support import Reader, WithRedis, wait_for


class AsyncRuns(WithRedis):
    def test_an_answer(self):
        async def main(client):
            async with threadcast.run(client, "t1") as run:
                await run.status("thinking")
                await run.reasoning("so")
                await run.tool_call("f", {"a": 1}, "c1")
                await run.progress(1)
                await run.tool_result("c1", 2)
                await run.token("Hel")
                await run.token("lo")
                await run.usage(1, 2, 4)
            return run
        run = self.in_loop(main)
        reader = Reader(self.client)
        self.assertEqual(reader.text(run.run_id), "Hello")
        self.assertEqual([s for s in reader.shapes() if not s.startswith("token")], [
            "status:started", "status:thinking", "delta:reasoning", "delta:tool_call",
            "delta:progress", "delta:tool_result", "delta:usage", "done:stop"])
        self.assertEqual(reader.events[-1]["content"]["usage"]["totalTokens"], 4)
        wait_for("the connection to go", lambda: not self.publishers())

    def test_an_agent_that_never_waits_does_not_hold_up_the_first_token(self):
        async def main(client):
            async with threadcast.run(client, "t1") as run:
                for i in range(100000):
                    await run.token("x")
                    if i % 100 == 0 and Reader(self.client).text(run.run_id):
                        return i
        self.assertLess(self.in_loop(main), 50000)

    def test_tokens_that_wait_leave_by_themselves(self):
        async def main(client):
            async with threadcast.run(client, "t1", flush_ms=30) as run:
                await run.token("a")
                await run.token("b")
                end = asyncio.get_running_loop().time() + 20
                while Reader(self.client).text(run.run_id) != "ab":
                    self.assertLess(asyncio.get_running_loop().time(), end)
                    await asyncio.sleep(0.002)
        self.in_loop(main)

    def test_an_exception_ends_it_with_an_error(self):
        async def main(client):
            async with threadcast.run(client, "t1") as run:
                await run.token("Hel")
                raise KeyError("secret")
        with self.assertRaisesRegex(KeyError, "secret"):
            self.in_loop(main)
        self.assertEqual(Reader(self.client).shapes(), [
            "status:started", "token:Hel", "error:agent_error"])

    def test_cancellation(self):
        async def agent(client, started):
            async with threadcast.run(client, "t1") as run:
                await run.token("Hel")
                started.set()
                await asyncio.Event().wait()

        async def main(client):
            started = asyncio.Event()
            task = asyncio.ensure_future(agent(client, started))
            await started.wait()
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
        self.in_loop(main)
        self.assertEqual(Reader(self.client).shapes(), [
            "status:started", "token:Hel", "status:cancelled", "done:cancelled"])

    def test_cancelled_while_it_begins(self):
        async def agent(client):
            async with threadcast.run(client, "t1"):
                self.fail("it was cancelled")

        async def main(_):
            client = redis.asyncio.Redis(unix_socket_path="/nonexistent/redis.sock")
            task = asyncio.ensure_future(agent(client))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)
            self.assertEqual(len(asyncio.all_tasks()), 1)
        self.in_loop(main)

    def test_cancelled_again_while_it_ends(self):
        async def agent(client, started):
            async with threadcast.run(client, "t1") as run:
                await run.flush()
                self.server.process.send_signal(19)  # SIGSTOP
                started.set()
                await asyncio.Event().wait()

        async def main(client):
            started = asyncio.Event()
            task = asyncio.ensure_future(agent(client, started))
            await started.wait()
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
            try:
                with self.assertRaises(asyncio.CancelledError):
                    await asyncio.wait_for(task, 10)
            finally:
                self.server.process.send_signal(18)  # SIGCONT
        self.in_loop(main)

    def test_fenced_and_ended(self):
        async def main(client):
            async with threadcast.run(client, "t1", run_id="r1", attempt=2):
                with self.assertRaises(threadcast.Fenced):
                    async with threadcast.run(client, "t1", run_id="r1", attempt=1):
                        self.fail("it was taken over")
            with self.assertRaises(threadcast.Ended):
                async with threadcast.run(client, "t1", run_id="r1", attempt=3):
                    self.fail("it has ended")
        self.in_loop(main)

    def test_taken_over_while_it_speaks(self):
        async def main(client):
            with self.assertRaises(threadcast.Fenced) as caught:
                async with threadcast.run(client, "t1", run_id="r1") as old:
                    async with threadcast.run(client, "t1", run_id="r1", attempt=2) as new:
                        await new.token("new")
                        await old.token("old")
                        with self.assertRaises(threadcast.Fenced):
                            await old.flush()
            self.assertEqual(caught.exception.attempt, 2)
        self.in_loop(main)
        self.assertEqual(Reader(self.client).shapes("r1"), [
            "status:rewind", "token:new", "done:stop"])

    def test_lost_logs_are_told_anew(self):
        async def main(client):
            async with threadcast.run(client, "t1") as run:
                await run.token("Hello ")
                await run.flush()
                await client.flushall()
                await run.token("there")
        self.in_loop(main)
        self.assertEqual(Reader(self.client).shapes(), [
            "status:rewind", "token:Hello there", "done:stop"])

    def test_a_hundred_runs_in_one_loop(self):
        async def agent(client, i):
            async with threadcast.run(client, "t%d" % (i % 5)) as run:
                for j in range(20):
                    await run.token("%d " % j)
                    await asyncio.sleep(0.001)
            return run

        async def main(client):
            return await asyncio.gather(*[agent(client, i) for i in range(100)])
        for run in self.in_loop(main):
            self.assertEqual(Reader(self.client, run.thread).text(run.run_id),
                             "".join("%d " % j for j in range(20)))

    def test_outside(self):
        async def main(client):
            event = {"type": "delta", "content": {"kind": "x"}}
            first = await threadcast.publish(client, "t1", event, idempotency_key="k")
            again = await threadcast.publish(client, "t1", event, idempotency_key="k")
            self.assertEqual(again, first._replace(repeated=True))
            async with threadcast.run(client, "t1", run_id="r1"):
                with self.assertRaises(threadcast.Taken):
                    await threadcast.publish(client, "t1", {**event, "runId": "r1"})
        self.in_loop(main, decode_responses=True)

    def test_no_redis(self):
        async def main(_):
            nobody = redis.asyncio.Redis(unix_socket_path="/nonexistent/redis.sock")
            with self.assertRaises(threadcast.Unavailable):
                async with threadcast.run(nobody, "t1", give_up_s=0.1):
                    self.fail("there is no Redis")
        self.in_loop(main)

    def test_rights(self):
        self.client.execute_command("ACL", "SETUSER", "agent", "reset", "on", ">pw", "+@all",
                                    "~*", "&other")

        async def main(client):
            with self.assertRaisesRegex(threadcast.Refused, "NOPERM"):
                async with threadcast.run(client, "t1"):
                    self.fail("it may not publish")
        self.in_loop(main, username="agent", password="pw")


if __name__ == "__main__":
    unittest.main()
