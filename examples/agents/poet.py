#!/usr/bin/env python3
"""An agent in Python, as one function. `pip install ./sdk/python`, then in agents.json

    {"default": "poet", "agents": {"poet": {"kind": "exec", "mode": "persistent",
        "command": "exec python3 examples/agents/poet.py"}}}

and `threadcast-worker --agents-file agents.json`: one process serves every run. It works
as a process a message too (`--agent "exec:exec python3 examples/agents/poet.py"`), and
poet_worker.py has the same function in a worker of its own."""
import asyncio

from threadcast.agent import serve


async def answer(said, question):
    """`said` is a Job here, and an AsyncRun in poet_worker.py: both are spoken to alike."""
    await said.status("thinking")
    words = question.split() or ["nothing"]
    await said.tool_call("rhyme", {"word": words[-1]}, "call-1")
    await said.tool_result("call-1", {"rhyme": words[-1][::-1]})
    for word in ["You", "said"] + words + ["and", "it", "rhymes", "with", words[-1][::-1] + "."]:
        await said.token(word + " ")
        await asyncio.sleep(0.02)  # here a model would think
    await said.usage(len(words), len(words) + 7)


async def handle(job):
    await answer(job, job.content)


if __name__ == "__main__":
    serve(handle)
