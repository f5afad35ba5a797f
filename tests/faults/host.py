#!/usr/bin/python3
"""faults-agent in the mode in which one process serves many runs (docs/AGENTS.md).

    "mode": "persistent", "command": "exec host.py <faults-agent> <seed>"

    worker ─ run ─▶ host ─▶ faults-agent, one a run ─ its lines, with the run's id ─▶ worker

So the answers are the same to the byte, whatever mode they come by. Prompts that want
the process to die are not for it: they would take other runs along.
"""
import json
import signal
import subprocess
import sys
import threading

AGENT, SEED = sys.argv[1:3]
speaking = threading.Lock()
tellers: dict[str, subprocess.Popen[bytes]] = {}


def say(**line: object) -> None:
    with speaking:
        sys.stdout.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")
        sys.stdout.flush()


def begin(run: dict[str, object]) -> None:
    """Known before the next line is read: that may cancel it."""
    teller = subprocess.Popen([AGENT, "--seed", SEED], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    tellers[str(run["runId"])] = teller
    threading.Thread(target=tell, args=(run, teller)).start()


def tell(run: dict[str, object], teller: subprocess.Popen[bytes]) -> None:
    run_id = str(run["runId"])
    ended = False
    with teller:
        assert teller.stdin and teller.stdout
        teller.stdin.write(json.dumps(run).encode() + b"\n")
        teller.stdin.close()
        for text in teller.stdout:
            line = json.loads(text)
            ended = ended or line["type"] in ("done", "error")
            say(**line, runId=run_id)
    if tellers.get(run_id) is teller:
        del tellers[run_id]
    if not ended:  # it was cancelled
        say(type="done", runId=run_id)


def signal_to(run_id: str, number: int) -> None:
    teller = tellers.get(run_id)
    if teller:
        teller.send_signal(number)


SIGNALS = {"cancel": signal.SIGKILL, "pause": signal.SIGSTOP, "resume": signal.SIGCONT}
say(type="ready", protocol=1)
for told in sys.stdin:
    message = json.loads(told)
    if message["type"] == "run":
        begin(message)
    elif message["type"] in SIGNALS:
        signal_to(message["runId"], SIGNALS[message["type"]])
