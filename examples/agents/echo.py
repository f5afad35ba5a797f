#!/usr/bin/env python3
"""An agent for `threadcast-worker --agent "exec:python3 examples/agents/echo.py"`: it
says the prompt back, word by word. One JSON object comes in, one JSON event a line goes
out."""
import json, sys, time


def say(kind, content):
    print(json.dumps({"type": kind, "content": content}), flush=True)


job = json.load(sys.stdin)
words = job["message"]["content"].split()
say("status", "thinking")
say("delta", {"kind": "reasoning", "text": f"{len(job['messages'])} messages came before. "})
say("token", f"You said {len(words)} words:")
for word in words:
    say("token", " " + word)
    time.sleep(0.02)
say("done", {"usage": {"inputTokens": len(words), "outputTokens": len(words) + 1}})
