"""A peer: FastAPI and redis-py, one subscription a reader, as their documentation has it.

No authentication, no resume, no check of the events. Served by uvicorn:

    uvicorn --loop uvloop --http httptools --no-access-log fastapi_sse:app
"""
import os

import redis.asyncio as redis
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()
client = redis.Redis(host="127.0.0.1", port=int(os.environ["REDIS_PORT"]),
                     max_connections=100_000)


@app.get("/{thread}")
async def events(thread: str) -> StreamingResponse:
    async def stream():
        async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(f"thread:{thread}")
            yield ":subscribed\n"
            async for message in pubsub.listen():
                yield f"data: {message['data'].decode()}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream",
                             headers={"Cache-Control": "no-cache"})
