// What is measured, and of how much. Each scenario is one run of bench_load; `--quick` makes
// all of them small, which shows that they work and gives no figure to quote.

/**
 * @typedef {object} Scenario
 * @property {string} name
 * @property {string} title
 * @property {string} mode of bench_load
 * @property {Record<string, number>} options of bench_load
 * @property {Record<string, number>} quick the same, where they differ
 * @property {'live' | 'all' | 'each'} [path]
 * @property {boolean} [once] in the first round only: no goal is about it
 * @property {boolean} [resume] only for those that know Last-Event-ID
 * @property {boolean} [scaling] also for one reactor
 * @property {boolean} [turns] also in turns: a goal is about microseconds
 * @property {'readers' | 'threads'} [growth] a point of that curve
 */

/** Rates at which latency is looked at. */
const LATENCY_RATES = [200, 1000, 5000];
const GROWTH_READERS = [100, 1000, 5000, 20_000];
const GROWTH_THREADS = [1, 10, 100, 1000, 10_000];
/** deliveries a second, the same at every point of growth */
const GROWTH_DELIVERIES = 20_000;
const GROWTH_RATE = 2000;

/** Good readers, while others never read: big events, so that those have stalled when it
 *  counts (loopback takes 64 KB and more), and not so many that they are cut as slow. */
const held = { readers: 200, threads: 200, rate: 400, text: 12_288, warm: 5, seconds: 3 };
const heldQuick = { readers: 20, threads: 10, rate: 50, warm: 0.3, seconds: 0.5 };

/** @type {Scenario[]} */
export const SCENARIOS = [
    // first, because memory is only honest in a process that has carried nothing yet
    { name: 'idle', title: '10,000 idle readers, each on its own thread', mode: 'idle',
      options: { readers: 10_000, threads: 10_000, 'settle-ms': 1500 },
      quick: { readers: 20, threads: 20, 'settle-ms': 100 } },
    { name: 'fanout', title: '1 thread × 1,000 readers, 20 ev/s', mode: 'rate', scaling: true,
      options: { readers: 1000, threads: 1, rate: 20, seconds: 4 }, quick: { readers: 20, seconds: 0.5 } },
    { name: 'many', title: '1,000 threads × 1 reader, 5,000 ev/s', mode: 'rate',
      options: { readers: 1000, threads: 1000, rate: 5000, seconds: 3 },
      quick: { readers: 20, threads: 20, rate: 500, seconds: 0.5 } },
    { name: 'many-2000', title: '1,000 threads × 1 reader, 2,000 ev/s', mode: 'rate', once: true,
      options: { readers: 1000, threads: 1000, rate: 2000, seconds: 3 },
      quick: { readers: 20, threads: 20, rate: 200, seconds: 0.5 } },
    { name: 'flat-one', title: 'flat out, 1 × 500', mode: 'flat', scaling: true,
      options: { readers: 500, threads: 1, window: 100_000, seconds: 2 },
      quick: { readers: 20, window: 1000, seconds: 0.3 } },
    { name: 'flat-many', title: 'flat out, 200 × 1', mode: 'flat', scaling: true,
      options: { readers: 200, threads: 200, window: 20_000, seconds: 2 },
      quick: { readers: 20, threads: 20, window: 1000, seconds: 0.3 } },
    ...LATENCY_RATES.map((rate) => /** @type {Scenario} */ ({
        name: `latency-${rate}`, title: `50 threads × 1 reader, ${rate.toLocaleString('en')} ev/s`, mode: 'rate',
        options: { readers: 50, threads: 50, rate, seconds: 3 }, quick: { readers: 20, threads: 20, seconds: 0.3 },
        once: rate !== LATENCY_RATES[0], turns: rate === LATENCY_RATES[0] })),
    { name: 'held-0', title: '200 readers, 400 ev/s of 12 KB', mode: 'rate', options: { ...held, stalled: 0 },
      quick: heldQuick },
    { name: 'held-2000', title: 'the same with 2,000 readers more that never read', mode: 'rate',
      options: { ...held, stalled: 2000 }, quick: { ...heldQuick, stalled: 20 } },
    { name: 'resume', title: '5,000 readers of 500 threads cut, each missed 100 events', mode: 'resume', resume: true, once: true,
      options: { readers: 5000, threads: 500, missed: 100 }, quick: { readers: 20, threads: 5, missed: 10 } },
    { name: 'resume-one', title: '5,000 readers of 1 thread cut, each missed 100 events', mode: 'resume', resume: true, once: true,
      options: { readers: 5000, threads: 1, missed: 100, first: 20_000 }, quick: { readers: 20, missed: 10 } },
    { name: 'replay', title: '50 logs of 2,000 events, each to 4 readers from the beginning', mode: 'replay', path: 'all',
      resume: true, once: true, options: { readers: 200, threads: 50, missed: 2000, first: 21_000 },
      quick: { readers: 20, threads: 20, missed: 100 } },
    { name: 'replay-each', title: 'the same without merging', mode: 'replay', path: 'each', resume: true,
      once: true, options: { readers: 200, threads: 50, missed: 2000, first: 22_000 },
      quick: { readers: 20, threads: 20, missed: 100 } },
];

/** Measured once, in a fresh server for each point, because memory is looked at too. @type {Scenario[]} */
export const GROWTH = [
    ...GROWTH_READERS.map((readers) => /** @type {Scenario} */ ({
        name: `readers-${readers}`, title: `1 × ${readers.toLocaleString('en')}`, mode: 'rate',
        growth: 'readers', options: { readers, threads: 1, rate: GROWTH_DELIVERIES / readers, seconds: 3 },
        quick: { readers: Math.min(readers / 10, 200), rate: 20, seconds: 0.3 } })),
    ...GROWTH_THREADS.map((threads) => /** @type {Scenario} */ ({
        name: `threads-${threads}`, title: `${threads.toLocaleString('en')} × 1`, mode: 'rate',
        growth: 'threads', options: { readers: threads, threads, rate: GROWTH_RATE, seconds: 2 },
        quick: { readers: Math.ceil(threads / 50), threads: Math.ceil(threads / 50), rate: 100, seconds: 0.3 } })),
];

/** @param {Scenario} scenario @param {boolean} quick @returns {string[]} */
export function argumentsOf({ mode, options, quick: small }, quick) {
    const all = Object.entries({ ...options, ...(quick ? small : {}) });
    return [mode, ...all.flatMap(([name, value]) => [`--${name}`, String(value)])];
}
