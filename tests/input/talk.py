#!/usr/bin/python3
"""An agent that says what it is told: each line that a socket gives it is a token, its end is the end."""
import json
import socket
import sys

job = json.load(sys.stdin)
mouth = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
mouth.sendall(job["runId"].encode() + b"\n")
for line in mouth.makefile(encoding="utf-8"):
    print(json.dumps({"type": "token", "content": line.rstrip("\n")}), flush=True)
print('{"type": "done"}', flush=True)
