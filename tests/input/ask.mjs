// One request on a connection of its own, written byte for byte: fetch would mend what is
// bad, and keeps connections open that a count of descriptors would find.

import assert from 'node:assert/strict';
import { raw } from '../e2e/lib/raw.mjs';

/**
 * @param {number} port
 * @param {string} method
 * @param {string} target
 * @param {{ headers?: [string, string | Buffer][], body?: Buffer | string, token?: string,
 *           cuts?: number[] }} [options] `cuts`: between 0 and 1, where the bytes are cut
 */
export async function ask(port, method, target, { headers = [], body, token, cuts = [] } = {}) {
    const lines = [['Host', `localhost:${port}`], ['Connection', 'close'], ...headers];
    if (token !== undefined) lines.push(['Authorization', `Bearer ${token}`]);
    if (body !== undefined) lines.push(['Content-Length', String(Buffer.byteLength(body))]);
    const bytes = Buffer.concat([Buffer.from(`${method} ${target} HTTP/1.1\r\n`),
        ...lines.flatMap(([name, value]) => [Buffer.from(`${name}: `), Buffer.from(value), Buffer.from('\r\n')]),
        Buffer.from('\r\n'), Buffer.from(body ?? '')]);
    const places = [0, ...cuts.map((cut) => Math.floor(cut * bytes.length)).sort((a, b) => a - b), bytes.length];
    const parts = places.slice(1).map((place, i) => bytes.subarray(places[i], place)).filter((part) => part.length);
    const answer = await raw(port, parts);
    const text = answer.text.slice(answer.text.indexOf('\r\n\r\n') + 4);
    const utf8 = Buffer.from(text, 'latin1').toString('utf8');
    let json;
    try {
        json = JSON.parse(utf8);
    } catch {
        // not every answer is JSON
    }
    return { ...answer, body: utf8, json, code: /** @type {string | undefined} */ (json?.error?.code) };
}

/**
 * The numbers of /metrics, without the daemon's prefix: `{'drops_total{reason="other"}': 1}`.
 * @param {number} port
 */
export async function metricsOf(port) {
    const { body } = await ask(port, 'GET', '/metrics');
    /** @type {Record<string, number>} */
    const found = {};
    for (const [, name, value] of body.matchAll(/^threadcast_(?:bridge|worker)_(\S+(?:\{.*\})?) (\S+)$/gm))
        found[name] = Number(value);
    return found;
}

/** Where the numbers of a stack's worker are.
 *  @param {import('../e2e/harness.mjs').Stack} stack @param {import('../e2e/harness.mjs').Worker} [worker] */
export function metricsPort(stack, worker = stack.worker) {
    const [, port] = /info metrics address="?[\d.]+:(\d+)/.exec(worker.output) ?? [];
    assert.ok(port, worker.output);
    return Number(port);
}

/**
 * How much counters rise while something is done, those that do.
 * @param {() => Promise<Record<string, number>>} read
 * @param {() => Promise<unknown>} body
 */
export async function rises(read, body) {
    const before = await read();
    await body();
    const after = await read();
    /** @type {Record<string, number>} */
    const found = {};
    for (const [name, value] of Object.entries(after))
        if (value !== (before[name] ?? 0)) found[name] = value - (before[name] ?? 0);
    return found;
}
