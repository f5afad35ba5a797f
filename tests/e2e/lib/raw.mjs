// Raw bytes to a server, and what it answers until it closes or falls silent.

import net from 'node:net';
import { PATIENCE_MS, within } from './until.mjs';

/**
 * @typedef {object} RawAnswer
 * @property {string} text everything that came
 * @property {number} status of the first answer; 0: none
 * @property {number[]} statuses of all answers, in order
 * @property {boolean} closed by the server
 */

/**
 * Sends bytes, one after the other when there are several, and reads until the server
 * closes or `enough` says so.
 * @param {number} port
 * @param {string | Buffer | (string | Buffer)[]} bytes
 * @param {{ enough?: (text: string) => boolean, half?: boolean, timeout?: number }} [options]
 *   `half`: shut down our side behind the last byte
 * @returns {Promise<RawAnswer>}
 */
export async function raw(port, bytes, { enough = () => false, half = false, timeout = PATIENCE_MS } = {}) {
    const parts = Array.isArray(bytes) ? bytes : [bytes];
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.setNoDelay(true);
    let text = '';
    let closed = false;
    const finished = new Promise((resolve) => {
        socket.on('data', (data) => {
            text += data.toString('latin1');
            if (enough(text)) resolve(undefined);
        });
        socket.on('end', () => {
            closed = true;
            resolve(undefined);
        });
        socket.on('error', () => {
            closed = true;
            resolve(undefined);
        });
    });
    for (const part of parts) {
        await new Promise((resolve) => socket.write(part, resolve));
    }
    if (half) socket.end();
    try {
        await within(finished, timeout, `an answer to ${JSON.stringify(String(parts[0])).slice(0, 200)}; ` +
                                        `so far: ${JSON.stringify(text).slice(0, 300)}`);
    } finally {
        socket.destroy();
    }
    const statuses = [...text.matchAll(/^HTTP\/1\.[01] (\d{3}) /gm)].map((match) => Number(match[1]));
    return { text, status: statuses[0] ?? 0, statuses, closed };
}
