"""Somebody cancels a run, over threadcast:control."""

import asyncio
import json
import threading
import unittest
import unittest.mock

import threadcast
from support import Reader, WithRedis, wait_for
from threadcast import _control

CANCELLED = ["status:cancelled", "done:cancelled"]


def cancel(client, run_id, prefix=""):
    return client.publish(prefix + "threadcast:control",
                          json.dumps({"type": "cancel", "runId": run_id}))


class Hints(unittest.TestCase):
    def test_what_is_one(self):
        self.assertEqual(_control.cancels(b'{"runId":"r1","type":"cancel","more":[1]}'), "r1")
        for other in (b"", b"x", b"\xff", b"[]", b'"cancel"', b'{"type":"cancel"}', b"[" * 1024,
                      b'{"type":"pause","runId":"r1"}', b'{"type":"cancel","runId":7}',
                      b'{"type":"cancel","runId":"%s"}' % (b"x" * 1024)):
            with self.subTest(other[:40]):
                self.assertIsNone(_control.cancels(other))


class Sync(WithRedis):
    def test_the_next_call_raises_and_so_does_the_block(self):
        with self.assertRaises(threadcast.Cancelled) as caught:
            with threadcast.run(self.client, "t1") as run:
                run.token("Hel")
                self.assertFalse(run.cancelled)
                self.assertEqual(cancel(self.client, run.run_id), 1)
                wait_for("the cancel", lambda: run.cancelled)
                for call in (lambda: run.token("lo"), run.flush, lambda: run.usage(1, 2)):
                    self.assertRaises(threadcast.Cancelled, call)
                run.token("lo")
        self.assertEqual(caught.exception.run_id, run.run_id)
        self.assertEqual(Reader(self.client).shapes(), [
            "status:started", "token:Hel"] + CANCELLED)

    def test_readers_need_not_wait_for_an_agent_that_is_busy(self):
        with self.assertRaises(threadcast.Cancelled):
            with threadcast.run(self.client, "t1", flush_ms=10000) as run:
                run.token("Hel")
                run.token("lo")
                cancel(self.client, run.run_id)
                wait_for("the end", lambda: Reader(self.client).shapes()[-2:] == CANCELLED, 2)
            self.fail("the block was left as if nothing had happened")
        self.assertEqual(Reader(self.client).text(run.run_id), "Hello")

    def test_only_the_run_that_is_meant(self):
        with threadcast.run(self.client, "t1", run_id="other") as other:
            with self.assertRaises(threadcast.Cancelled):
                with threadcast.run(self.client, "t1", run_id="mine") as run:
                    self.client.publish("threadcast:control", "no JSON")
                    cancel(self.client, "somebody-elses")
                    cancel(self.client, "mine", prefix="app:")
                    cancel(self.client, "mine")
                    cancel(self.client, "mine")
                    wait_for("the cancel", lambda: run.cancelled)
            self.assertFalse(other.cancelled)
            other.token("x")
        self.assertEqual(Reader(self.client).shapes("other")[-1], "done:stop")
        self.assertEqual(Reader(self.client).shapes("mine"), ["status:started"] + CANCELLED)

    def test_an_agent_that_wants_to_know(self):
        heard = threading.Event()
        with threadcast.run(self.client, "t1", on_cancel=heard.set) as run:
            cancel(self.client, run.run_id)
            self.assertTrue(heard.wait(20))
            self.assertTrue(run.cancelled)
            run.token("I was about to say")
        self.assertEqual(Reader(self.client).shapes(), [
            "status:started", "token:I was about to say"] + CANCELLED)

    def test_an_agent_that_wants_to_know_and_then_fails(self):
        heard = threading.Event()
        with self.assertRaises(KeyError):
            with threadcast.run(self.client, "t1", on_cancel=heard.set) as run:
                cancel(self.client, run.run_id)
                heard.wait(20)
                raise KeyError
        self.assertEqual(Reader(self.client).shapes(), ["status:started"] + CANCELLED)

    def test_an_on_cancel_that_raises(self):
        with self.assertLogs("threadcast", "ERROR"), self.assertRaises(threadcast.Cancelled):
            with threadcast.run(self.client, "t1", on_cancel=lambda: 1 / 0) as run:
                cancel(self.client, run.run_id)
                wait_for("the end", lambda: Reader(self.client).shapes()[-2:] == CANCELLED)

    def test_too_late(self):
        with threadcast.run(self.client, "t0"):  # keeps the subscription
            with threadcast.run(self.client, "t1") as run:
                pass
            cancel(self.client, run.run_id)
            with threadcast.run(self.client, "t1") as other:
                pass
        self.assertFalse(run.cancelled)
        self.assertEqual(Reader(self.client).shapes(other.run_id)[-1], "done:stop")

    def test_after_a_reconnect(self):
        with self.assertRaises(threadcast.Cancelled):
            with threadcast.run(self.client, "t1") as run:
                (control,) = [c for c in self.publishers() if c["name"].endswith(":control")]
                self.client.client_kill_filter(_id=control["id"])
                wait_for("somebody to hear", lambda: cancel(self.client, run.run_id))
                wait_for("the cancel", lambda: run.cancelled)

    def test_no_right_to_hear(self):
        self.client.execute_command("ACL", "SETUSER", "agent", "reset", "on", ">pw", "+@all",
                                    "~*", "&thread:*")
        denied = self.server.client(username="agent", password="pw")
        with self.assertRaisesRegex(threadcast.Refused, "threadcast:control: NOPERM"):
            with threadcast.run(denied, "t1"):
                self.fail("nobody could stop it")
        denied.connection_pool.disconnect()


class Async(WithRedis):
    def cancelled_in(self, body, **options):
        """Cancels a run inside body(run, started); returns how its task ended."""
        async def agent(client, runs, started):
            async with threadcast.run(client, "t1", **options) as run:
                runs.append(run)
                await body(run, started)

        async def main(client):
            started, runs = asyncio.Event(), []
            task = asyncio.ensure_future(agent(client, runs, started))
            await started.wait()
            await asyncio.get_running_loop().run_in_executor(
                None, cancel, self.client, runs[0].run_id)
            (outcome,) = await asyncio.wait_for(
                asyncio.gather(task, return_exceptions=True), 20)
            self.assertTrue(runs[0].cancelled)
            return outcome
        return self.in_loop(main)

    def test_the_body_is_cancelled_and_the_task_goes_on(self):
        seen = []

        async def body(run, started):
            await run.token("Hel")
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as e:
                seen.append(e)
                with self.assertRaises(threadcast.Cancelled):
                    await run.token("lo")
                raise
        self.assertIsInstance(self.cancelled_in(body), threadcast.Cancelled)
        self.assertEqual(len(seen), 1)
        self.assertEqual(Reader(self.client).shapes(), [
            "status:started", "token:Hel"] + CANCELLED)

    def test_the_task_can_go_on_with_other_things(self):
        async def main(client):
            run = threadcast.run(client, "t1")
            with self.assertRaises(threadcast.Cancelled):
                async with run:
                    await client.publish("threadcast:control", json.dumps(
                        {"type": "cancel", "runId": run.run_id}))
                    await asyncio.Event().wait()
            async with threadcast.run(client, "t1") as run:
                await run.token("x")
            return run
        self.assertEqual(Reader(self.client).shapes(self.in_loop(main).run_id), [])
        self.assertEqual(Reader(self.client).shapes()[-1], "done:stop")

    def test_an_agent_that_takes_no_notice(self):
        async def body(_, started):
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
        self.assertIsInstance(self.cancelled_in(body), threadcast.Cancelled)
        self.assertEqual(Reader(self.client).shapes(), ["status:started"] + CANCELLED)

    def test_an_agent_that_fails_over_it(self):
        async def body(_, started):
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                raise KeyError
        self.assertIsInstance(self.cancelled_in(body), KeyError)
        self.assertEqual(Reader(self.client).shapes(), ["status:started"] + CANCELLED)

    def test_an_agent_that_wants_to_know(self):
        heard = []

        async def body(run, started):
            started.set()
            while not heard:
                await asyncio.sleep(0.005)
            await run.token("bye")
        outcome = self.cancelled_in(body, on_cancel=lambda: heard.append(1))
        self.assertIsNone(outcome)
        self.assertEqual(Reader(self.client).shapes(), [
            "status:started", "token:bye"] + CANCELLED)

    def test_a_task_that_its_owner_cancels_too_stays_cancelled(self):
        async def body(_, started):
            task = asyncio.current_task()
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                task.cancel()
        self.assertIsInstance(self.cancelled_in(body), asyncio.CancelledError)

    def test_cancelled_before_anything_was_said(self):
        """The subscription is there before the run begins."""
        async def main(client):
            async with threadcast.run(client, "t0"):
                run = threadcast.run(client, "t1")
                beats, link = [], threadcast._aio.Link

                async def beat(this, life, beat=link._beat):
                    if life is run._life and not beats:
                        beats.append(1)
                        await client.publish("threadcast:control", json.dumps(
                            {"type": "cancel", "runId": run.run_id}))
                        while not run.cancelled:
                            await asyncio.sleep(0.005)
                    await beat(this, life)
                with unittest.mock.patch.object(link, "_beat", beat):
                    with self.assertRaises(threadcast.Cancelled):
                        async with run:
                            self.fail("it was cancelled")
        self.in_loop(main)
        self.assertEqual(Reader(self.client, "t1").shapes(), ["status:started"] + CANCELLED)

    def test_one_subscription_for_all_runs_of_a_client(self):
        async def main(client):
            async with threadcast.run(client, "t1"), threadcast.run(client, "t1"):
                names = [c["name"] for c in self.publishers()]
                self.assertEqual(sum(n.endswith(":control") for n in names), 1)
            self.assertEqual(len(asyncio.all_tasks()), 1)
        self.in_loop(main)
        wait_for("the connections to go", lambda: not self.publishers())

    def test_after_a_reconnect(self):
        async def main(client):
            with self.assertRaises(threadcast.Cancelled):
                async with threadcast.run(client, "t1") as run:
                    (control,) = [c for c in self.publishers()
                                  if c["name"].endswith(":control")]
                    self.client.client_kill_filter(_id=control["id"])
                    while True:
                        cancel(self.client, run.run_id)
                        await asyncio.sleep(0.01)
        self.in_loop(main)


class Quiet(WithRedis):
    """A subscription on which nothing arrives is asked whether it is still there."""

    def setUp(self):
        super().setUp()
        for module in (threadcast._sync_control, threadcast._aio_control):
            patch = unittest.mock.patch.object(module, "PING_S", 0.1)
            patch.start()
            self.addCleanup(patch.stop)

    def control(self):
        return [c for c in self.publishers() if c["name"].endswith(":control")]

    def pinged(self):
        found = self.control()
        return found and found[0]["cmd"] == "ping"

    def test_it_answers(self):
        async def main(client):
            async with threadcast.run(client, "t1"):
                await asyncio.get_running_loop().run_in_executor(None, self.stays)
        with threadcast.run(self.client, "t1"):
            self.stays()
        wait_for("the end of it", lambda: not self.control())
        self.in_loop(main)

    def stays(self):
        before = wait_for("the subscription", self.control)[0]["id"]
        wait_for("a PING", self.pinged)
        idle = threading.Event()
        threading.Timer(0.6, idle.set).start()
        idle.wait()
        self.assertEqual(self.control()[0]["id"], before)

    def test_it_does_not_answer(self):
        async def main(client):
            async with threadcast.run(client, "t1", give_up_s=60):
                await asyncio.get_running_loop().run_in_executor(None, self.replaced)
        with threadcast.run(self.client, "t1", give_up_s=60):
            self.replaced()
        self.in_loop(main)

    def replaced(self):
        before = wait_for("the subscription", self.control)[0]["id"]
        self.server.process.send_signal(19)  # SIGSTOP
        go_on = threading.Timer(1.5, self.server.process.send_signal, (18,))
        go_on.start()
        go_on.join()
        wait_for("another one", lambda: [c for c in self.control() if c["id"] != before])


if __name__ == "__main__":
    unittest.main()
