// Faults drawn from a seed, two at a time, against the whole world under load; in the end
// everything that was accepted must be where it belongs, once, and nothing anywhere else.
//
//     node tests/faults/chaos.mjs --seed 7 --faults 1000 --readers 1000 --threads 100
//
// The same seed draws the same faults in the same order (their effect depends on the
// moment). Ends with one line of counts, and 1 when any of them is not 0.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { random } from '../e2e/lib/ledger.mjs';
import { check, counterexample } from './checker.mjs';
import { FAULTS } from './faults.mjs';
import { Gauges } from './gauges.mjs';
import { pause, World } from './world.mjs';

/**
 * @typedef {object} ChaosOptions
 * @property {number} [seed]
 * @property {number} [faults] how many; 0: until `minutes` are over
 * @property {number} [minutes]
 * @property {number} [readers]
 * @property {number} [threads]
 * @property {number} [rate] prompts a second
 * @property {number} [every] milliseconds between two faults of a lane, on average
 * @property {string[]} [only] names of faults
 * @property {(line: string) => void} [log]
 */

const LANES = 2;

/** @param {ChaosOptions} options */
export async function chaos({ seed = 1, faults = 100, minutes = 0, readers = 200, threads = 20, rate = 4, every = 200,
                              only = [], log = () => {} } = {}) {
    const catalogue = only.length ? FAULTS.filter(({ name }) => only.includes(name)) : FAULTS;
    if (!catalogue.length || catalogue.length < new Set(only).size) throw new Error(`no such fault: ${only}`);
    const draw = random(`faults ${seed}`);
    const world = await World.start({ seed, random: random(`world ${seed}`), threads, readers });
    const began = performance.now();
    /** @type {{ name: string, from: number, to: number, trouble?: string }[]} */
    const history = [];
    const busy = new Set();
    const gauges = new Gauges(world);
    let left = faults || Infinity;
    const over = () => left <= 0 || (minutes > 0 && performance.now() - began > minutes * 60_000);

    async function lane() {
        while (!over()) {
            left--;
            const free = catalogue.filter(({ part }) => !busy.has(part));
            const fault = free[Math.floor(draw() * free.length)];
            if (!fault) {
                left++;
                await pause(20);
                continue;
            }
            busy.add(fault.part);
            const one = { name: fault.name, from: performance.now() - began, to: Infinity };
            history.push(one);
            try {
                await fault.happen(world, (from, to) => from + draw() * (to - from));
            } catch (error) {
                throw new Error(`${fault.name} could not be made or healed: ${error.message}`, { cause: error });
            } finally {
                one.to = performance.now() - began;
                busy.delete(fault.part);
            }
            await pause(draw() * 2 * every);
        }
    }

    try {
        await gauges.start();
        world.beginPosting(rate);
        const lanes = Promise.all(Array.from({ length: LANES }, lane));
        let told = 0;
        const ticker = setInterval(() => {
            for (; told < Math.min(world.farm.violations.length, 3); told++) log(JSON.stringify(world.farm.violations[told]));
            log(`${Math.round((performance.now() - began) / 1000)} s: ${history.length} faults, ${world.ledger.length} prompts, ` +
                `${gauges.line()}, ${world.farm.violations.length} violations`);
        }, 15_000);
        await lanes.finally(() => clearInterval(ticker));
        await world.endPosting();
        const healed = performance.now();
        await world.settle();
        const settled = performance.now() - healed;
        const status = await world.farm.status();
        const forgetful = history.filter(({ name }) => FAULTS.find((fault) => fault.name === name)?.forgets).length;
        const verdict = await check(world, forgetful);
        const growth = await gauges.end();
        return { ...verdict, status, history, growth, settled, seconds: (performance.now() - began) / 1000,
                 prompts: world.ledger.length, resets: world.farm.resets.length, forgetful,
                 example: counterexample(verdict, history), logs: verdict.wrong.length ? world.stack.logs(60) : '' };
    } catch (error) {
        console.error(world.stack.logs(40));
        throw error;
    } finally {
        await world.stop();
    }
}

/** What a person reads at the end. @param {Awaited<ReturnType<typeof chaos>>} result */
export function summary(result) {
    const kinds = new Map();
    for (const { name } of result.history) kinds.set(name, (kinds.get(name) ?? 0) + 1);
    const { counts, status } = result;
    return [
        `${result.history.length} faults of ${kinds.size} kinds in ${Math.round(result.seconds)} s, ` +
        `${result.prompts} prompts, ${status.readers} readers, ${status.events} events, ${status.reconnects} reconnects, ` +
        `${result.resets} resets (Redis forgot ${result.forgetful} times), ${result.told} accounts compared`,
        [...kinds].sort().map(([name, n]) => `${name} ${n}`).join(', '),
        ...result.growth.map((line) => `  ${line}`),
        `settled ${(result.settled / 1000).toFixed(1)} s after the last fault`,
        `lost ${counts.lost} · duplicated ${counts.duplicated} · reordered ${counts.reordered} · ` +
        `foreign ${counts.foreign} · stuck ${counts.stuck} · other ${counts.other}`,
    ].join('\n');
}

export const bad = ({ wrong, growth }) => wrong.length > 0 || growth.some((line) => line.startsWith('LEAK'));

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    const { values } = parseArgs({ options: {
        seed: { type: 'string', default: '1' }, faults: { type: 'string', default: '100' },
        minutes: { type: 'string', default: '0' }, readers: { type: 'string', default: '200' },
        threads: { type: 'string', default: '20' }, rate: { type: 'string', default: '4' },
        every: { type: 'string', default: '200' }, only: { type: 'string', default: '' } } });
    const { only, ...numbers } = values;
    const result = await chaos({
        only: only ? only.split(',') : [], log: (line) => console.log(line),
        ...Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Number(value)])) });
    console.log(summary(result));
    if (result.wrong.length) {
        console.log(`\nseed ${values.seed}, the smallest of ${result.wrong.length}:\n${result.example}\n${result.logs}`);
    }
    process.exitCode = bad(result) ? 1 : 0;
}
