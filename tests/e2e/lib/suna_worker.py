"""A worker of one run as Suna's and its forks' are, calls to Redis included.

    suna_worker.py <redis url> <family> <run>        family: classic newer newest

What the agent yields stands on standard input, one JSON object a line; the end of the input is the
agent's end, a line that is no JSON its exception. Prints "ready" once it listens for control, and
"stopped", "completed" or "failed" when it is over.

As in the original, an RPUSH and the `new` that tells of it are tasks of their own, which nobody
awaits before the last word is published.
"""

import asyncio
import json
import os
import sys
import time

import redis.asyncio as aioredis

TTL_S = 86400
INSTANCE = "e2e"


class Classic:
    """run_agent_background.py, 2025: a list, `new`, control words."""

    def __init__(self, db, run):
        self.db, self.run = db, run
        self.list = f"agent_run:{run}:responses"
        self.new = f"agent_run:{run}:new_response"
        self.control = f"agent_run:{run}:control"
        self.active = f"active_run:{INSTANCE}:{run}"
        self.pending = []

    def tell(self, text):
        return "new"

    def say(self, event):
        text = json.dumps(event)
        self.pending.append(asyncio.create_task(self.db.rpush(self.list, text)))
        self.pending.append(asyncio.create_task(self.db.publish(self.new, self.tell(text))))

    async def say_now(self, event):
        text = json.dumps(event)
        await self.db.rpush(self.list, text)
        await self.db.publish(self.new, self.tell(text))

    async def begin(self):
        await self.db.set(f"agent_run_lock:{self.run}", INSTANCE, nx=True, ex=TTL_S)
        await self.db.set(self.active, "running", ex=TTL_S)
        self.pubsub = self.db.pubsub()
        await self.pubsub.subscribe(self.control, f"{self.control}:{INSTANCE}")
        for _ in range(2):
            await self.pubsub.get_message(timeout=5)

    async def asked_to_stop(self):
        message = await self.pubsub.get_message(ignore_subscribe_messages=True, timeout=0.5)
        return bool(message) and message["data"] == b"STOP"

    async def completed(self):
        await self.say_now({"type": "status", "status": "completed",
                            "message": "Agent run completed successfully"})

    async def failed(self, why):
        await self.say_now({"type": "status", "status": "error", "message": why})

    async def end(self, outcome):
        words = {"completed": "END_STREAM", "failed": "ERROR", "stopped": "STOP"}
        await self.db.publish(self.control, words[outcome])
        await self.pubsub.unsubscribe()
        await self.db.delete(self.active)
        await asyncio.gather(*self.pending)
        await self.db.expire(self.list, TTL_S)
        await self.db.delete(f"agent_run_lock:{self.run}")


class Newer(Classic):
    """Iris' refactored worker: list and channel of one name, and ends of its own."""

    def __init__(self, db, run):
        super().__init__(db, run)
        self.list = self.new = f"agent_responses:{run}"
        self.control = f"agent_control:{run}"
        self.active = f"agent_instance_active:{INSTANCE}"
        self.total = 0

    def tell(self, text):
        self.total += 1
        return text

    async def completed(self):
        await self.say_now({"type": "completion", "timestamp": time.time(),
                            "total_responses": self.total})

    async def failed(self, why):
        await self.say_now({"type": "error", "error": why, "responses_so_far": self.total})
        await self.db.publish(self.control, json.dumps({"type": "error", "error": why}))


class Newest(Classic):
    """Suna of 2026: one stream, no channel at all, a key that says stop."""

    def __init__(self, db, run):
        super().__init__(db, run)
        self.stream = f"agent_run:{run}:stream"

    def say(self, event):
        self.pending.append(asyncio.create_task(self.say_now(event)))

    async def say_now(self, event):
        await self.db.xadd(self.stream, {"data": json.dumps(event)}, maxlen=200, approximate=True)
        await self.db.expire(self.stream, 600)

    async def begin(self):
        pass

    async def asked_to_stop(self):
        await asyncio.sleep(0.1)
        return await self.db.get(f"agent_run:{self.run}:stop") == b"1"

    async def end(self, outcome):
        await asyncio.gather(*self.pending)
        if outcome == "stopped":
            await self.say_now({"type": "status", "status": "stopped"})


async def agent():
    """What standard input says."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        yield json.loads(line)


async def main(url, family, run):
    db = aioredis.from_url(url)
    worker = {"classic": Classic, "newer": Newer, "newest": Newest}[family](db, run)
    await worker.begin()
    print("ready", flush=True)
    stopping = asyncio.Event()

    async def watch():
        while not await worker.asked_to_stop():
            pass
        stopping.set()

    async def work():
        async for event in agent():
            worker.say(event)
            if event.get("type") == "status" and event.get("status") in ("completed", "failed", "stopped"):
                return event["status"]
        await worker.completed()
        return "completed"

    tasks = [asyncio.create_task(watch()), asyncio.create_task(work()),
             asyncio.create_task(stopping.wait())]
    await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
    outcome = "stopped"
    if tasks[1].done():
        try:
            outcome = tasks[1].result()
        except json.JSONDecodeError as error:
            outcome = "failed"
            await worker.failed(str(error))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=1)  # a command of this library may swallow being cancelled
    await worker.end(outcome)
    print(outcome, flush=True)
    os._exit(0)


asyncio.run(main(*sys.argv[1:]))
