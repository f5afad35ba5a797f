// A thread of a daemon that stands still while the others go on.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';

/** Holds one thread of a process, by ptrace, until `release` is called. @param {number} tid */
async function hold(tid) {
    const child = spawn('python3', ['-c', `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
tid = int(sys.argv[1])
if libc.ptrace(16, tid, None, None) != 0:
    print('refused', flush=True)
    sys.exit(0)
os.waitpid(tid, 0x40000000)
print('held', flush=True)
sys.stdin.read()
libc.ptrace(17, tid, None, None)
`, String(tid)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [word] = await once(child.stdout, 'data');
    return { held: String(word).trim() === 'held', release: async () => {
        child.stdin.end();
        await once(child, 'close');
    } };
}

/**
 * Holds one of a bridge's reactors; `held` is false where the machine does not let one process hold a thread of another.
 * @param {import('../harness.mjs').Bridge} bridge @param {number} number
 */
export function holdReactor(bridge, number) {
    const { pid } = bridge.child;
    const tid = fs.readdirSync(`/proc/${pid}/task`)
        .find((id) => fs.readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8').trim() === `reactor-${number}`);
    return hold(Number(tid));
}
