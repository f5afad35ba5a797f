// From measurements to tables: medians over the rounds, ratios made inside each round, and
// what was to be reached beside what was.

import fs from 'node:fs';
import path from 'node:path';
import { ROOT } from './peers.mjs';
import { GROWTH, SCENARIOS } from './scenarios.mjs';

/** @typedef {import('../bench.mjs').Results} Results */
/** @typedef {(result: any) => number} Metric */

const DOCS = path.join(ROOT, 'docs/BENCHMARKS.md');
/** what plot.py draws */
const PLOTS = ['cpu', 'throughput', 'memory', 'latency', 'resume', 'growth'];
const BEGIN = '<!-- results: written by scripts/bench -->';
const END = '<!-- end of results -->';

/** @type {Record<string, Metric>} */
export const METRICS = {
    cpu: (r) => r.server.us_per_event,
    rate: (r) => r.events_per_s,
    p50: (r) => r.latency_ms.p50,
    p99: (r) => r.latency_ms.p99,
    wall: (r) => r.wall_s,
    user: (r) => (r.user_bytes.open - r.user_bytes.start) / r.readers,
    // both ends of each connection are on this machine, and weigh the same
    kernel: (r) => (r.kernel_bytes.slab_open - r.kernel_bytes.slab_start +
                    r.kernel_bytes.tcp_open - r.kernel_bytes.tcp_start) / 2 / r.readers,
};

/** @param {number[]} values */
export function median(values) {
    const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
    if (sorted.length === 0) return NaN;
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** @param {Results} results @param {string} peer @param {string} scenario */
const rowsOf = (results, peer, scenario) =>
    results.rows.filter((row) => row.peer === peer && row.scenario === scenario && row.result);

/** @param {Results} results @param {string} peer @param {string} scenario @param {Metric} metric */
export function value(results, peer, scenario, metric) {
    return median(rowsOf(results, peer, scenario).map((row) => metric(row.result)));
}

/** One to another, in each round; the median of these.
 *  @param {Results} results @param {[string, string]} one peer, scenario @param {[string, string]} other @param {Metric} metric */
export function ratio(results, one, other, metric) {
    return median(rowsOf(results, ...one).flatMap((row) => rowsOf(results, ...other)
        .filter((beside) => beside.round === row.round).map((beside) => metric(row.result) / metric(beside.result))));
}

/** Three digits that mean something. @param {number} n */
function short(n) {
    if (!Number.isFinite(n)) return '–';
    if (Math.abs(n) >= 1e6) return `${(n / 1e6).toPrecision(3)} M`;
    if (Math.abs(n) >= 1e5) return `${Math.round(n / 1e3)} k`;
    if (Math.abs(n) >= 1e4) return `${(n / 1e3).toPrecision(3)} k`;
    return Math.abs(n) >= 100 ? n.toFixed(0) : Math.abs(n) < 0.01 ? n.toFixed(2) : n.toPrecision(3);
}

/** What was lost is said beside the figure. @param {Results} results @param {string} peer @param {string} scenario @param {Metric} metric */
function cell(results, peer, scenario, metric, unit = 1) {
    const failed = results.rows.some((row) => row.peer === peer && row.scenario === scenario && row.error);
    const share = (/** @type {string} */ what) => 100 * median(rowsOf(results, peer, scenario)
        .map(({ result }) => result[what] / Math.max(1, what === 'ended' ? result.readers : result.expected)));
    const text = short(value(results, peer, scenario, metric) / unit);
    if (text === '–') return failed ? 'failed' : text;
    const wrong = ['lost', 'repeated', 'reordered', 'ended'].filter((what) => share(what) > 0)
        .map((what) => `${share(what).toPrecision(2)} % ${what}`);
    return wrong.length > 0 ? `${text} (${wrong.join(', ')})` : text;
}

/** @param {string[]} head @param {string[][]} rows */
function table(head, rows) {
    return [head, head.map((_, i) => i === 0 ? '---' : '--:'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

/** @typedef {{ head: string, scenario: string, metric: Metric, unit?: number }} Column */

/** @param {Results} results @param {Column[]} columns */
function columnTable(results, columns) {
    const rows = results.peers.map(({ name, title }) => [
        title, ...columns.map((column) => cell(results, name, column.scenario, column.metric, column.unit))]);
    return table(['', ...columns.map((column) => column.head)], rows.filter((row) => row.slice(1).some((text) => text !== '–')));
}

/** @param {string} name */
const titleOf = (name) => SCENARIOS.find((scenario) => scenario.name === name)?.title ?? name;

/** @param {Results} results */
function mainTable(results) {
    const { cpu, rate, user, kernel } = METRICS;
    return columnTable(results, [
        ...['fanout', 'many', 'many-2000'].map((scenario) => ({ head: `${titleOf(scenario)}: µs of CPU an event`, scenario, metric: cpu })),
        ...['flat-one', 'flat-many'].map((scenario) => ({ head: `${titleOf(scenario)}: ev/s`, scenario, metric: rate })),
        { head: 'idle reader: user KB', scenario: 'idle', metric: user, unit: 1024 },
        { head: 'kernel KB', scenario: 'idle', metric: kernel, unit: 1024 }]);
}

/** @param {Results} results */
function latencyTable(results) {
    const rates = SCENARIOS.filter(({ name }) => name.startsWith('latency-')).map(({ name }) => name);
    return columnTable(results, [...rates, 'held-0', 'held-2000'].flatMap((scenario) => [
        { head: `${titleOf(scenario)}: p50 ms`, scenario, metric: METRICS.p50 },
        { head: 'p99 ms', scenario, metric: METRICS.p99 }]));
}

/** @param {Results} results */
function resumeTable(results) {
    return columnTable(results, [
        ...['resume', 'resume-one'].map((scenario) => ({ head: `${titleOf(scenario)}: s`, scenario, metric: METRICS.wall })),
        ...['replay', 'replay-each'].map((scenario) => ({ head: `${titleOf(scenario)}: ev/s`, scenario, metric: METRICS.rate }))]);
}

/** @param {Results} results @param {'readers' | 'threads'} kind @param {Metric} metric */
function growthTable(results, kind, metric, unit = 1, from = 1) {
    return columnTable(results, GROWTH.filter((point) => point.growth === kind && point.options.readers >= from)
        .map((point) => ({ head: point.title, scenario: point.name, metric, unit })));
}

// --- goals -----------------------------------------------------------------------------------

/** What the bridge itself adds: PUBLISH alone is no floor for events that are numbered and
 *  logged before they go out. @param {Results} results @param {string} peer @param {string} scenario @param {Metric} metric */
function behindScript(results, peer, scenario, metric) {
    return peer === 'threadcast' ? ratio(results, [peer, scenario], ['floor-script', scenario], metric) : NaN;
}

/** The best of the others. @param {Results} results @param {string} peer @param {string} scenario */
function toBestPeer(results, peer, scenario) {
    const others = results.peers.map(({ name }) => name).filter((name) => !name.startsWith('floor') && !name.startsWith('threadcast'));
    return Math.min(...others.map((other) => ratio(results, [peer, scenario], [other, scenario], METRICS.rate))
        .filter(Number.isFinite));
}

/** @typedef {{ what: string, limit: number, atLeast?: boolean, of: (results: Results, peer: string) => number, unit?: string }} Goal */
/** @type {Goal[]} */
export const GOALS = [
    { what: 'fan-out: CPU an event, to the floor', limit: 1.25,
      of: (r, peer) => ratio(r, [peer, 'fanout'], ['floor', 'fanout'], METRICS.cpu) },
    { what: 'many threads: CPU an event, to the floor', limit: 1.4,
      of: (r, peer) => ratio(r, [peer, 'many'], ['floor', 'many'], METRICS.cpu) },
    { what: 'flat out 1 × 500, to the floor', limit: 0.5, atLeast: true,
      of: (r, peer) => ratio(r, [peer, 'flat-one'], ['floor', 'flat-one'], METRICS.rate) },
    { what: 'flat out 1 × 500, to the best peer', limit: 5, atLeast: true, of: (r, peer) => toBestPeer(r, peer, 'flat-one') },
    { what: 'flat out 200 × 1, to the floor', limit: 0.6, atLeast: true,
      of: (r, peer) => ratio(r, [peer, 'flat-many'], ['floor', 'flat-many'], METRICS.rate) },
    { what: 'flat out 200 × 1, to the floor behind the same script', limit: 0.6, atLeast: true,
      of: (r, peer) => behindScript(r, peer, 'flat-many', METRICS.rate) },
    { what: 'user memory of an idle reader on its own thread, at 10,000', limit: 1, unit: ' KB',
      of: (r, peer) => value(r, peer, 'idle', METRICS.user) / 1024 },
    { what: 'p50 at 200 ev/s, to the floor', limit: 1.3,
      of: (r, peer) => ratio(r, [peer, 'latency-200'], ['floor', 'latency-200'], METRICS.p50) },
    { what: 'p50 at 200 ev/s, to the floor behind the same script', limit: 1.3,
      of: (r, peer) => behindScript(r, peer, 'latency-200', METRICS.p50) },
    { what: 'p99 with 2,000 stalled readers, to without', limit: 1.2,
      of: (r, peer) => ratio(r, [peer, 'held-2000'], [peer, 'held-0'], METRICS.p99) },
    { what: 'the same p99, to the floor with the same stalled readers', limit: 1.2,
      of: (r, peer) => ratio(r, [peer, 'held-2000'], ['floor', 'held-2000'], METRICS.p99) },
];
const SCALING = 1.6;
/** the client has two threads, Redis one: two reactors need what is left */
const CORES_FOR_SCALING = 5;

/** @param {Goal} goal @param {number} found */
function verdict({ limit, atLeast, unit = '×' }, found) {
    if (!Number.isFinite(found)) return 'not measured';
    return `${found.toPrecision(3)}${unit} ${(atLeast ? found >= limit : found <= limit) ? 'met' : '**not met**'}`;
}

/** @param {Results} results */
function goalTable(results) {
    const ours = ['threadcast', 'threadcast-bare'];
    const rows = GOALS.map((goal) => [`${goal.what} ${goal.atLeast ? '≥' : '≤'} ${goal.limit}${goal.unit ?? '×'}`,
        ...ours.map((peer) => verdict(goal, goal.of(results, peer)))]);
    const scaling = ratio(results, ['threadcast-bare', 'flat-one'], ['threadcast-one', 'flat-one'], METRICS.rate);
    const cores = Number(results.machine.cores);
    const slowed = ratio(results, ['threadcast-slow-2', 'flat-one'], ['threadcast-slow-1', 'flat-one'], METRICS.rate);
    rows.push([`two reactors of a fifth of a core each to one, flat out 1 × 500 ≥ ${SCALING}×`, '–',
               verdict({ what: '', limit: SCALING, atLeast: true, of: () => slowed }, slowed)]);
    rows.push([`all reactors to one, flat out 1 × 500 ≥ ${SCALING}× where two cores are free`, '–',
               cores < CORES_FOR_SCALING ? `${short(scaling)}× (${cores} cores here, none of them free)`
                   : verdict({ what: '', limit: SCALING, atLeast: true, of: () => scaling }, scaling)]);
    return table(['goal', 'with ids, log and resume', 'bare events'], rows);
}

// --- the page --------------------------------------------------------------------------------

/** @param {Results} results */
function described(results) {
    const { processor, cores, memoryGiB, system, kernel, redis, commit, mostReaders } = results.machine;
    const most = Math.max(...GROWTH.map((point) => point.options.readers));
    const fewer = Number(mostReaders) < most
        ? `\n\nA process may not have more descriptors here: where it says ${most.toLocaleString('en')} readers, there were ${Number(mostReaders).toLocaleString('en')}.` : '';
    const loads = results.rows.map((row) => row.load);
    const turns = new Set(results.rows.map(({ round }) => round).filter((round) => round > results.rounds)).size;
    return `${results.began.slice(0, 16).replace('T', ' ')} UTC, commit ${commit}: ${processor}, ${cores} cores, ${memoryGiB} GiB; `
        + `${system}, Linux ${kernel}, Redis ${redis}. ${results.rounds} rounds and ${turns} turns at 200 ev/s, ${Math.round(results.seconds / 60)} minutes; `
        + `load average before the run ${Number(results.machine.loadAtStart).toFixed(2)}, at most ${Math.max(0, ...loads).toFixed(1)} during it `
        + `(client, Redis and server share the cores).${fewer}${results.quick ? '\n\n**A quick run: it shows that everything works, and its figures mean nothing.**' : ''}`;
}

/** @param {Results} results @param {string} [images] where the plots are */
export function markdown(results, images = '.') {
    const plots = PLOTS.map((name) => `\n\n![${name}](${images}/bench-${name}.png)`).join('');
    const peers = table(['', 'version', 'what it does beside'], results.peers.map((peer) => [peer.title, peer.version, peer.does]))
        .replace('| --: | --: |', '| --- | --- |');
    const gone = results.missing.length > 0 ? `\n\nNot measured, because not installed: ${results.missing.join(', ')}.` : '';
    return `${described(results)}

${goalTable(results)}

### CPU, throughput, memory

${mainTable(results)}

### Latency

${latencyTable(results)}

### Coming back

${resumeTable(results)}

### Growth

µs of CPU an event, 20,000 deliveries a second:

${growthTable(results, 'readers', METRICS.cpu)}

µs of CPU an event, 2,000 events a second:

${growthTable(results, 'threads', METRICS.cpu)}

User memory of a reader that has seen events, in KB:

${growthTable(results, 'threads', METRICS.user, 1024, 1000)}

### Who was measured

${peers}${gone}${plots}
`;
}

/** Puts the results into docs/BENCHMARKS.md, between its two marks. @param {Results} results */
export function updateDocs(results) {
    if (results.quick) throw new Error('a quick run is no result');
    const page = fs.readFileSync(DOCS, 'utf8');
    const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
    if (from < 0 || to < from) throw new Error(`${DOCS} has lost its marks`);
    fs.writeFileSync(DOCS, `${page.slice(0, from + BEGIN.length)}\n\n${markdown(results, 'img')}\n${page.slice(to)}`);
}
