#!/usr/bin/env python3
"""The agent of poet.py in a worker of its own: it takes questions from a list in Redis and
publishes the answers itself, so that a bridge is all that is needed besides.

    pip install ./sdk/python
    REDIS_URL=redis://127.0.0.1:6379 python3 examples/agents/poet_worker.py
    redis-cli rpush poet:questions '{"thread":"t1","question":"What rhymes with moon"}'
"""
import asyncio
import json
import os
import signal

import redis.asyncio
import threadcast
from poet import answer

AT_ONCE = 16


async def work(client, asked, places):
    async with places:
        try:
            async with threadcast.run(client, asked["thread"], agent_id="poet") as run:
                await answer(run, asked["question"])
        except threadcast.Cancelled:
            pass  # the readers know


async def main():
    client = redis.asyncio.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
    places, works, stop = asyncio.Semaphore(AT_ONCE), set(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("waiting for poet:questions", flush=True)
    while not stop.is_set():
        async with places:  # asks only when there is a place
            found = await client.blpop("poet:questions", timeout=1)
        if found:
            works.add(task := asyncio.ensure_future(work(client, json.loads(found[1]), places)))
            task.add_done_callback(works.discard)
    for task in works:
        task.cancel()  # each says so to its readers
    await asyncio.gather(*works, return_exceptions=True)
    await client.connection_pool.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
