"""One prompt through the whole pipeline, watched by curl. Called by `scripts/run --once`.

    once.py <address> <token> <prompt>

Opens the thread's stream with `curl -N`, posts the prompt, prints the stream as curl
receives it and ends after `done` with one line of figures, which are measured:
  first token  from the 202 of the POST to the first token in curl's output
  events       numbered events received
  lost         holes in their numbers (the stream is asked for unmerged), plus one if the
               message in Postgres is not what the tokens add up to
Exit status: 0 after `done` with nothing lost, else 1.
"""
import json
import queue
import subprocess
import sys
import threading
import time
import urllib.parse
from http.client import HTTPConnection

PATIENCE_S = 60


class Api:
    """JSON requests over one connection that stays open."""

    def __init__(self, address: str, token: str):
        self.connection = HTTPConnection(urllib.parse.urlsplit(address).netloc, timeout=PATIENCE_S)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def __call__(self, method: str, path: str, body=None, expected=200):
        text = None if body is None else json.dumps(body).encode()
        self.connection.request(method, path, text, self.headers)
        response = self.connection.getresponse()
        at = time.monotonic()
        answer = response.read().decode()
        if response.status != expected:
            sys.exit(f"{method} {path}: {response.status} {answer}")
        return json.loads(answer), at


class Figures:
    """What arrived, and what should have."""

    def __init__(self):
        self.events = self.lost = 0
        self.text = {}
        self.first_token_at = None
        self.epoch = self.next = None

    def begin(self, position: str):
        """The stream says `ready`: it begins behind this id."""
        epoch, _, number = position.partition("-")
        if number:
            self.epoch, self.next = epoch, int(number) + 1

    def see(self, event: dict, at: float):
        epoch, _, number = event.get("id", "").partition("-")
        if number:
            self.events += 1
            expected = self.next if epoch == self.epoch else 1
            if expected is not None:
                self.lost += int(number) - expected
            self.epoch, self.next = epoch, int(number) + 1
        run = event.get("runId")
        if event["type"] == "token":
            self.first_token_at = self.first_token_at or at
            self.text[run] = self.text.get(run, "") + event["content"]
        elif event["type"] == "status" and event["content"].get("status") == "rewind":
            self.text[run] = ""


def read_lines(pipe, lines: queue.Queue):
    for line in iter(pipe.readline, b""):
        lines.put((time.monotonic(), line))
    lines.put((time.monotonic(), None))


def field(line: bytes, name: bytes):
    return line[len(name):].strip().decode() if line.startswith(name) else None


def watch(lines: queue.Queue, figures: Figures, stop):
    """Prints what comes and counts it, until `stop(event name, event)` is true."""
    name = ""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            at, line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            sys.exit(f"nothing for {PATIENCE_S} s")
        if line is None:
            sys.exit("the stream ended too early")
        deadline = at + PATIENCE_S
        sys.stdout.buffer.write(line)
        sys.stdout.flush()
        if line == b"\n":
            name = ""
        name = field(line, b"event:") or name
        data = field(line, b"data:")
        if data is None:
            continue
        event = json.loads(data)
        if name:
            if name == "ready":
                figures.begin(event.get("at", ""))
            if name in ("busy", "reset", "bye"):
                figures.lost += name == "reset"
        else:
            figures.see(event, at)
        if stop(name, event):
            return event


def milliseconds(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def main(address: str, token: str, prompt: str) -> int:
    api = Api(address, token)
    thread, _ = api("POST", "/v1/threads", {"metadata": {"title": prompt[:60]}}, expected=201)
    thread = thread["id"]
    url = f"{address}/v1/threads/{thread}/events?merge=0"
    # the token goes in by stdin: a command line is visible to everybody on the machine
    curl = subprocess.Popen(["curl", "-sSN", "--config", "-", url],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    curl.stdin.write(f'header = "Authorization: Bearer {token}"\n'.encode())
    curl.stdin.close()
    lines: queue.Queue = queue.Queue()
    threading.Thread(target=read_lines, args=(curl.stdout, lines), daemon=True).start()
    figures = Figures()
    try:
        watch(lines, figures, lambda name, _: name == "ready")
        receipt, accepted_at = api("POST", f"/v1/threads/{thread}/messages",
                                   {"content": prompt}, expected=202)
        run = receipt["runId"]
        last = watch(lines, figures, lambda name, event: not name and event.get("runId") == run
                     and event["type"] in ("done", "error"))
    finally:
        curl.terminate()
        curl.wait()
    sys.stdout.write("\n")
    if last["type"] == "error":
        print(f"the run failed: {last['content'].get('message')}")
        return 1
    history, _ = api("GET", f"/v1/threads/{thread}/messages")
    answer = next((m for m in history["messages"] if m.get("runId") == run
                   and m["role"] == "assistant"), None)
    if answer is None or answer["content"] != figures.text.get(run, ""):
        print("the message in Postgres is not what the tokens add up to")
        figures.lost += 1
    first = "never" if figures.first_token_at is None else \
        milliseconds(max(0.0, figures.first_token_at - accepted_at))
    print(f"first token {first} · {figures.events} events · {figures.lost} lost")
    return 1 if figures.lost else 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:4]))
    except KeyboardInterrupt:
        sys.exit(130)
