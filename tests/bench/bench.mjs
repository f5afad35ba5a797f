// Measures Threadcast, the physical limit and the peers side by side, with one client for
// all. ./scripts/bench builds, installs and calls this.
//
//   node tests/bench/bench.mjs [--quick] [--only floor,threadcast,…] [--rounds 3]
//        [--minutes 22] [--docs] [--out directory]
//   node tests/bench/bench.mjs --report <results.json> [--docs]     no measuring
//
//   round 1: floor, threadcast, nchan, …   growth: the same   round 2: floor, threadcast, …
//   turns: floor, threadcast, floor, threadcast, …
//
// Rounds are interleaved, and ratios are made inside a round, so that a machine that is
// faster in the morning favours nobody. No further round begins when it would not end in
// time. In turns, three seconds each, are those whom a goal compares by microseconds: the
// latency of one program differs more between two minutes than that of two programs.
// Everything goes to build/bench-results; with --docs into docs/BENCHMARKS.md too.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { MOST_READERS, PEERS, ROOT, Server } from './lib/peers.mjs';
import { markdown, updateDocs } from './lib/report.mjs';
import { argumentsOf, GROWTH, SCENARIOS } from './lib/scenarios.mjs';

/**
 * @typedef {object} Row one measurement
 * @property {string} peer
 * @property {string} scenario
 * @property {number} round 0: growth; from TURNS_FROM on: a turn
 * @property {number} load the machine's load average before it
 * @property {any} [result] what bench_load printed
 * @property {string} [error]
 *
 * @typedef {object} Results
 * @property {string} began
 * @property {boolean} quick
 * @property {number} rounds
 * @property {number} seconds
 * @property {Record<string, string | number>} machine
 * @property {{ name: string, title: string, does: string, version: string }[]} peers
 * @property {string[]} missing
 * @property {Row[]} rows
 */

const { values: given } = parseArgs({ options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    rounds: { type: 'string', default: '' },
    minutes: { type: 'string', default: '22' },
    docs: { type: 'boolean', default: false },
    out: { type: 'string', default: path.join(ROOT, 'build/bench-results') },
    report: { type: 'string' },
} });
const TURNS = 12, TURNS_FROM = 100;
const began = performance.now();
const elapsed = () => (performance.now() - began) / 1000;

function machine() {
    const of = (/** @type {string} */ file, /** @type {RegExp} */ what) => fs.readFileSync(file, 'utf8').match(what)?.[1] ?? '?';
    return {
        processor: of('/proc/cpuinfo', /^model name\s*: (.*)$/m),
        cores: os.cpus().length,
        memoryGiB: Math.round(os.totalmem() / 2 ** 30),
        system: of('/etc/os-release', /^PRETTY_NAME="(.*)"$/m),
        kernel: os.release(),
        redis: execFileSync('redis-server', ['--version'], { encoding: 'utf8' }).match(/v=(\S+)/)?.[1] ?? '?',
        commit: commit(),
        loadAtStart: os.loadavg()[0],
        mostReaders: MOST_READERS,
    };
}

function commit() {
    try {
        return execFileSync('git', ['-C', ROOT, 'describe', '--always', '--dirty'], { encoding: 'utf8' }).trim();
    } catch {
        return 'unknown'; // a tree without git
    }
}

/** @returns {Promise<[import('./lib/peers.mjs').Peer[], Results['peers'], string[]]>} */
async function choose() {
    const only = given.only.split(',').filter(Boolean);
    const unknown = only.filter((name) => !PEERS.some((peer) => peer.name === name));
    if (unknown.length > 0) throw new Error(`nobody here is called ${unknown}: ${PEERS.map((p) => p.name)}`);
    const wanted = PEERS.filter((peer) => only.length === 0 || only.includes(peer.name));
    const versions = await Promise.all(wanted.map((peer) => peer.version()));
    const there = wanted.filter((_, i) => versions[i]);
    return [there, wanted.flatMap(({ name, title, does }, i) => versions[i] ? { name, title, does, version: versions[i] } : []),
            wanted.filter((_, i) => !versions[i]).map((peer) => peer.title)];
}

/** A scenario asks for no more readers than the peer can be asked to carry.
 *  @param {import('./lib/scenarios.mjs').Scenario} scenario @param {import('./lib/peers.mjs').Peer} peer */
function fitted(scenario, { most }) {
    const { readers, threads } = scenario.options;
    return readers <= most ? scenario
        : { ...scenario, options: { ...scenario.options, readers: most, threads: Math.min(threads, most) } };
}

/** @param {import('./lib/scenarios.mjs').Scenario} scenario @param {Server} server */
function suits(scenario, { peer, served }) {
    if (peer.scaling) return scenario.scaling;
    if (peer.only) return peer.only.includes(scenario.name);
    return (!scenario.resume || peer.resumes) && (!scenario.path || served[scenario.path] !== undefined);
}

/** @param {Results} results @param {Server} server @param {import('./lib/scenarios.mjs').Scenario} scenario @param {number} round */
async function measure(results, server, scenario, round) {
    const row = { peer: server.peer.name, scenario: scenario.name, round, load: os.loadavg()[0] };
    try {
        const result = await server.load(argumentsOf(fitted(scenario, server.peer), given.quick), scenario.path);
        results.rows.push({ ...row, result });
        const { lost, repeated, reordered, server: cost, events_per_s: rate, latency_ms: latency } = result;
        console.log(`  ${scenario.name.padEnd(16)} ${cost.us_per_event.toFixed(2).padStart(9)} µs/event ${rate.toFixed(0).padStart(9)} ev/s  ` +
                    `p50 ${latency.p50.toFixed(2)} p99 ${latency.p99.toFixed(2)} ms${lost || repeated || reordered ? `  LOST ${lost} REPEATED ${repeated} OUT OF ORDER ${reordered}` : ''}`);
    } catch (error) {
        results.rows.push({ ...row, error: String(error) });
        console.log(`  ${scenario.name}: ${error}`);
    }
}

/** @param {string} name */
const place = (name) => path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'threadcast-bench-')), name);

/** what runs now, and is stopped when we are @type {Set<Server>} */
const running = new Set();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, async () => {
        await Promise.all([...running].map((server) => server.stop()));
        process.exit(1);
    });
}

/** @param {import('./lib/peers.mjs').Peer} peer */
async function start(peer) {
    const server = await Server.start(peer, place(peer.name));
    running.add(server);
    return server;
}

/** @param {Server} server */
async function stop(server) {
    running.delete(server);
    await server.stop();
    fs.rmSync(path.dirname(server.dir), { recursive: true, force: true });
}

/** @param {Results} results @param {import('./lib/peers.mjs').Peer} peer @param {import('./lib/scenarios.mjs').Scenario[]} scenarios @param {number} round */
async function visit(results, peer, scenarios, round) {
    let server = await start(peer);
    try {
        for (const scenario of scenarios.filter((s) => suits(s, server))) {
            if (!server.served.children.every((child) => child.running)) {
                console.log(`  ${peer.title} ended and is started again\n${server.served.children[0].tail(5)}`);
                await stop(server);
                server = await start(peer);
            }
            await measure(results, server, scenario, round);
        }
    } finally {
        await stop(server);
    }
}

/** @param {Results} results @param {import('./lib/peers.mjs').Peer[]} peers */
async function turns(results, peers) {
    if (peers.length < 2) return;
    console.log(`turns: ${peers.map(({ title }) => title).join(', ')} (${elapsed().toFixed(0)} s)`);
    const scenarios = SCENARIOS.filter((scenario) => scenario.turns);
    /** @type {Server[]} */
    const servers = [];
    try {
        for (const peer of peers) servers.push(await start(peer));
        for (let turn = 0; turn < (given.quick ? 1 : TURNS); turn++) {
            for (const scenario of scenarios) {
                for (const server of servers) await measure(results, server, scenario, TURNS_FROM + turn);
            }
        }
    } finally {
        for (const server of servers) await stop(server);
    }
}

/** A fresh server for each point. @param {Results} results @param {import('./lib/peers.mjs').Peer[]} peers */
async function growth(results, peers) {
    for (const peer of peers.filter((one) => !one.scaling && !one.only)) {
        console.log(`growth: ${peer.title} (${elapsed().toFixed(0)} s)`);
        // a quick run sees one point of each curve
        for (const scenario of given.quick ? [GROWTH[0], GROWTH[GROWTH.length - 1]] : GROWTH) {
            // the last point may be a little smaller here, but not another one
            if (scenario.options.readers * 0.9 <= peer.most) await visit(results, peer, [scenario], 0);
        }
    }
}

/** @param {Results} results @param {import('./lib/peers.mjs').Peer[]} peers */
async function rounds(results, peers) {
    const wanted = Number(given.rounds || (given.quick ? 1 : 3));
    let last = 0;
    for (let round = 1; round <= wanted; round++) {
        if (round > 1 && elapsed() + last > Number(given.minutes) * 60) {
            console.log(`no time for another round in ${given.minutes} minutes`);
            break;
        }
        const from = elapsed();
        for (const peer of peers) {
            console.log(`round ${round}: ${peer.title} (${elapsed().toFixed(0)} s)`);
            await visit(results, peer, SCENARIOS.filter((s) => round === 1 || !s.once), round);
        }
        last = elapsed() - from;
        results.rounds = round;
        if (round === 1) await growth(results, peers);
    }
}

/** @returns {Promise<Results>} */
async function run() {
    const [peers, described, missing] = await choose();
    for (const title of missing) console.log(`${title} is not here and is left out`);
    /** @type {Results} */
    const results = { began: new Date().toISOString(), quick: given.quick, rounds: 0, seconds: 0, machine: machine(),
                      peers: described, missing, rows: [] };
    await rounds(results, peers);
    await turns(results, peers.filter((peer) => peer.turns));
    results.seconds = Math.round(elapsed());
    return results;
}

if (given.docs && (given.quick || given.only)) throw new Error('only a whole run is a result for the docs');
const results = given.report ? JSON.parse(fs.readFileSync(given.report, 'utf8')) : await run();
fs.mkdirSync(given.out, { recursive: true });
const file = path.join(given.out, 'results.json');
fs.writeFileSync(file, `${JSON.stringify(results, null, 1)}\n`);
const text = markdown(results);
fs.writeFileSync(path.join(given.out, 'results.md'), text);
console.log(`\n${text}`);
const images = given.docs ? path.join(ROOT, 'docs/img') : given.out;
execFileSync('/usr/bin/python3', [path.join(ROOT, 'tests/bench/plot.py'), file, images], { stdio: 'inherit' });
if (given.docs) updateDocs(results);
console.log(`(${path.relative(process.cwd(), given.out)}/: results.json, results.md; plots: ${path.relative(process.cwd(), images)}/)`);
