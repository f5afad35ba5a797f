"""A TCP proxy that can be made a peer which has gone without a word. SIGUSR1: the kernel drops
whatever comes to the connections that are open then, and acknowledges none of it (a filter on
their sockets): the host is gone. SIGUSR2: it is acknowledged, and nobody reads it. New
connections pass.

    deaf.py <port> | <path>      prints the port that it listens on

Either end may be the one that is left behind.
"""

import asyncio
import ctypes
import signal
import socket
import struct
import sys

SO_ATTACH_FILTER = 26
NOTHING = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # BPF: return 0
clients = {}


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def on_client(reader, writer):
    target = sys.argv[1]
    if target.isdigit():
        up, down = await asyncio.open_connection("127.0.0.1", int(target))
    else:
        up, down = await asyncio.open_unix_connection(target)
    tasks = [asyncio.ensure_future(pump(reader, down)), asyncio.ensure_future(pump(up, writer))]
    clients[writer] = (tasks, down)
    await asyncio.wait(tasks)
    if clients.pop(writer, None):
        writer.close()
        down.close()


def leave(acknowledges):
    program = struct.pack("HL", 1, ctypes.addressof(NOTHING))
    for writer, (tasks, down) in clients.items():
        for end in () if acknowledges else (writer, down):
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        for task in tasks:
            task.cancel()
    print("gone", len(clients), flush=True)
    gone.extend(clients.items())  # they stay open, and say nothing
    clients.clear()


async def main():
    server = await asyncio.start_server(on_client, "127.0.0.1", 0)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        asyncio.get_running_loop().add_signal_handler(number, leave, number == signal.SIGUSR2)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


gone = []
asyncio.run(main())
