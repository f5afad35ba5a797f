"""Subscriptions of the Python package, on command: a line of JSON opens or closes one, and
what it brings is a line of JSON. For tests."""

import asyncio
import dataclasses
import json
import sys
import threading

from threadcast.client import AsyncSubscription, Subscription

lock = threading.Lock()
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
opened = {}


def say(id, **what):
    with lock:
        print(json.dumps({"id": id, **what}), flush=True)


def subscription(kind, id, base, tokens, **options):
    def token():
        return tokens.pop(0) if len(tokens) > 1 else tokens[0]

    async def token_later():
        return token()

    def on_notice(notice):
        say(id, notice=dataclasses.asdict(notice))

    if kind == "sync":
        return Subscription(base, token=token, on_notice=on_notice, **options)
    return AsyncSubscription(base, token=token_later, on_notice=on_notice, **options)


def told(id, event, position):
    say(id, event={**event.json, "id": event.id, "again": event.again}, position=position)


def failed(id, error):
    say(id, error={"name": type(error).__name__, "message": str(error),
                   "status": getattr(error, "status", 0), "code": getattr(error, "code", "")})


def read(id, made):
    try:
        with made as events:
            for event in events:
                told(id, event, events.position)
        say(id, ended=True)
    except Exception as e:
        failed(id, e)


async def read_async(id, made):
    try:
        async with made as events:
            async for event in events:
                told(id, event, events.position)
        say(id, ended=True)
    except asyncio.CancelledError:
        say(id, ended=True)
    except Exception as e:
        failed(id, e)


print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    command = json.loads(line)
    if "close" in command:
        opened.pop(command["close"])()
        continue
    made = subscription(**command)
    if command["kind"] == "sync":
        threading.Thread(target=read, args=(command["id"], made), daemon=True).start()
        opened[command["id"]] = made.close
    else:
        task = asyncio.run_coroutine_threadsafe(read_async(command["id"], made), loop)
        opened[command["id"]] = task.cancel
