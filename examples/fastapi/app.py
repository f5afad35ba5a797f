"""A FastAPI process that answers in the background, and publishes while it does.

    pip install -r examples/fastapi/requirements.txt
    REDIS_URL=redis://127.0.0.1:6379 uvicorn --app-dir examples/fastapi app:app --port 8000

    curl -N -H "Authorization: Bearer …" http://127.0.0.1:8080/v1/threads/t1/events &
    curl http://127.0.0.1:8000/threads/t1/ask -H 'Content-Type: application/json' \
        -d '{"question": "What is the capital of Austria?"}'

Who may ask is this application's to check; who may read is the bridge's."""

import asyncio
import json
import os
import uuid

import redis.asyncio
import threadcast
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
client = redis.asyncio.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
prefix = os.environ.get("REDIS_PREFIX", "")  # the bridge's --redis-prefix
answers = set()


class Question(BaseModel):
    question: str


async def model(question):
    """Stands for a language model that streams."""
    for word in ("You asked: " + question).split(" "):
        await asyncio.sleep(0.02)
        yield word + " "


async def answer(thread, run_id, message_id, question):
    try:
        async with threadcast.run(client, thread, run_id=run_id, message_id=message_id,
                                  agent_id="fastapi", prefix=prefix) as run:
            await run.status("thinking")
            async for piece in model(question):
                await run.token(piece)
    except threadcast.Cancelled:
        pass  # the readers know


@app.post("/threads/{thread}/ask", status_code=202)
async def ask(thread: str, asked: Question):
    run_id, message_id = str(uuid.uuid4()), str(uuid.uuid4())
    task = asyncio.create_task(answer(thread, run_id, message_id, asked.question))
    answers.add(task)  # a task that nobody holds may be collected
    task.add_done_callback(answers.discard)
    return {"runId": run_id, "messageId": message_id}


@app.post("/runs/{run_id}/cancel", status_code=202)
async def cancel(run_id: str):
    """In whatever process it runs. 0 heard it: it has ended, or try again."""
    hint = json.dumps({"type": "cancel", "runId": run_id})
    return {"heard": await client.publish(prefix + "threadcast:control", hint)}


@app.on_event("shutdown")
async def shutdown():
    """What is being said ends as cancelled, and not as worker_lost a lease later."""
    for task in answers:
        task.cancel()
    await asyncio.gather(*answers, return_exceptions=True)
