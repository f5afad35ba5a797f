// Where a secret must not stand, besides the logs: what a stack shows of itself while it runs.
// A server that is away, or a process that stands still, shows nothing: then it is left out.

import fs from 'node:fs';
import { within } from './until.mjs';

/** for what answers late, or never */
const WAIT_MS = 2_000;

/**
 * @typedef {object} Place
 * @property {string} where
 * @property {string} text
 */

/** @template T @param {Promise<T>} asked @returns {Promise<T | undefined>} */
const soon = (asked) => within(asked, WAIT_MS, 'an answer').catch(() => undefined);

/** @param {number} pid @param {string} name what the kernel says of it */
function proc(pid, name) {
    try {
        return fs.readFileSync(`/proc/${pid}/${name}`, 'latin1');
    } catch {
        return ''; // it has gone
    }
}

/** All that descend from a process. @param {number} pid @returns {number[]} */
function descendants(pid) {
    /** @type {Map<number, number[]>} */
    const children = new Map();
    for (const name of fs.readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
        const stat = proc(Number(name), 'stat');
        const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        children.set(parent, [...children.get(parent) ?? [], Number(name)]);
    }
    const below = (/** @type {number} */ one) => (children.get(one) ?? []).flatMap((child) => [child, ...below(child)]);
    return below(pid);
}

/** @param {any} daemon */
async function metricsOf(daemon) {
    const address = daemon.output.match(/ info metrics address=(\S+)/)?.[1];
    const url = address ? `http://${address}/metrics` : daemon.port ? daemon.url('/metrics') : '';
    return url ? await soon(fetch(url, { signal: AbortSignal.timeout(WAIT_MS) }).then((answer) => answer.text())) ?? '' : '';
}

/** @param {any} daemon @returns {Promise<Place[]>} */
async function ofDaemon(daemon) {
    const { child } = daemon;
    if (!child.running) return [];
    // what an agent inherits is the worker's to choose; its own environment is how it gets its secrets
    const programs = daemon.kind === 'worker' ? descendants(child.pid) : [];
    return [
        { where: `the metrics of ${child.name}`, text: await metricsOf(daemon) },
        { where: `the arguments of ${child.name}`, text: proc(child.pid, 'cmdline') },
        ...programs.flatMap((pid) => [{ where: `the arguments of an agent (${pid})`, text: proc(pid, 'cmdline') },
                                      { where: `the environment of an agent (${pid})`, text: proc(pid, 'environ') }]),
    ];
}

/** @param {any} redis @returns {Promise<Place[]>} */
async function ofRedis(redis) {
    if (!redis.child?.running) return [];
    const client = redis.connect();
    const ask = async (/** @type {string[]} */ ...words) => [await soon(client.call(...words)) ?? ''].flat().join('\n');
    try {
        return [{ where: "Redis' keys", text: await ask('KEYS', '*') },
                { where: "Redis' channels", text: await ask('PUBSUB', 'CHANNELS') },
                { where: "Redis' list of clients", text: await ask('CLIENT', 'LIST') }];
    } finally {
        client.disconnect();
    }
}

/** Columns that people and programs look at when something is wrong. */
const COLUMNS = `select string_agg(concat_ws(' ', error, stats, usage), E'\\n') as said from threadcast.runs
    union all select string_agg(metadata::text, E'\\n') from threadcast.messages`;

/** @param {any} postgres @returns {Promise<Place[]>} */
async function ofPostgres(postgres) {
    if (!postgres?.child?.running) return [];
    const rows = await soon(postgres.query(COLUMNS)) ?? [];
    return rows.map((/** @type {{ said: string | null }} */ { said }) => ({ where: 'the tables runs and messages', text: said ?? '' }));
}

/**
 * The secrets that can be seen, and where: one sentence each.
 * @param {{ bridges: any[], workers: any[], redis: any, postgres: any }} stack
 * @param {Iterable<string>} secrets
 */
export async function leaks({ bridges, workers, redis, postgres }, secrets) {
    const places = (await Promise.all([...[...bridges, ...workers].map(ofDaemon), ofRedis(redis), ofPostgres(postgres)])).flat();
    return [...secrets].flatMap((secret) => places.filter(({ text }) => text.includes(secret))
        .map(({ where }) => `a secret in ${where}: ${secret}`));
}
