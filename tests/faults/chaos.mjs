// Faults drawn from a seed, two at a time, against the whole world under load; in the end
// everything that was accepted must be where it belongs, once, and nothing anywhere else,
// and nothing may have grown.
//
//     node tests/faults/chaos.mjs --seed 7 --faults 1000 --readers 1000 --threads 100
//     node tests/faults/chaos.mjs --seed 7 --faults 10 --plan        what it is going to do
//
// The same seed makes the same faults, of the same length, in the same order in each lane
// (chaos-plan.mjs); their effect depends on the moment, and so does how the lanes lie to
// each other. Ends with one line of counts, and 1 when any of them is not 0.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { LANES, planned, planText, Turns } from './chaos-plan.mjs';
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

/**
 * @typedef {object} Happened
 * @property {string} name
 * @property {number} lane
 * @property {number} index
 * @property {number} from Date.now()
 * @property {number} to
 * @property {number[]} raw what it drew
 * @property {number[]} drew the times that came of it
 */

/** @param {string[]} only */
function catalogueOf(only) {
    const catalogue = only.length ? FAULTS.filter(({ name }) => only.includes(name)) : FAULTS;
    if (!catalogue.length || catalogue.length < new Set(only).size) throw new Error(`no such fault: ${only}`);
    return catalogue;
}

/** @param {ChaosOptions} options */
export async function chaos({ seed = 1, faults = 100, minutes = 0, readers = 200, threads = 20, rate = 4, every = 200,
                              only = [], log = () => {} } = {}) {
    const catalogue = catalogueOf(only);
    /** @type {Gauges | undefined} */
    let gauges;
    const world = await World.start({ seed, threads, readers, lasting: true,
                                      idle: async (idle) => (gauges = await Gauges.start(idle)) });
    const began = performance.now();
    /** @type {Happened[]} */
    const history = [];
    const turns = new Turns();
    let broken = false;
    const late = () => broken || (minutes > 0 && performance.now() - began > minutes * 60_000);

    /** @param {import('./chaos-plan.mjs').Planned} plan */
    async function happen({ lane, index, fault, draw }) {
        /** @type {Happened} */
        const one = { name: fault.name, lane, index, from: Date.now(), to: Infinity, raw: [], drew: [] };
        history.push(one);
        try {
            await fault.happen(world, (from, to) => {
                one.raw.push(draw());
                one.drew.push(from + one.raw[one.raw.length - 1] * (to - from));
                return one.drew[one.drew.length - 1];
            });
        } catch (error) {
            broken = true;
            throw new Error(`${fault.name} could not be made or healed: ${error.message}`, { cause: error });
        } finally {
            one.to = Date.now();
        }
    }

    /** @param {number} lane */
    async function drive(lane) {
        const share = faults ? Math.floor((faults + LANES - 1 - lane) / LANES) : Infinity;
        for (let index = 0; index < share && !late(); index++) {
            const plan = planned(seed, lane, index, catalogue);
            await turns.take(plan.fault.part, () => happen(plan));
            await pause(plan.rest * 2 * every);
        }
    }

    let result;
    try {
        world.beginPosting(rate);
        const lanes = Promise.all(Array.from({ length: LANES }, (_, lane) => drive(lane)));
        let told = 0;
        const ticker = setInterval(() => {
            for (; told < Math.min(world.farm.violations.length, 3); told++) log(JSON.stringify(world.farm.violations[told]));
            log(`${Math.round((performance.now() - began) / 1000)} s: ${history.length} faults, ${world.ledger.length} prompts, ` +
                `${gauges?.line()}, ${world.farm.violations.length} violations`);
        }, 15_000);
        await lanes.finally(() => clearInterval(ticker));
        await world.endPosting();
        const healed = performance.now();
        await world.settle();
        const settled = performance.now() - healed;
        const status = await world.farm.status();
        const forgot = history.map((one) => ({ ...one, forgets: FAULTS.find(({ name }) => name === one.name)?.forgets }))
            .filter(({ forgets }) => forgets);
        const forgetful = forgot.length;
        const verdict = await check(world, forgot);
        const growth = await gauges?.end() ?? [];
        result = { ...verdict, status, history, growth, settled, seconds: (performance.now() - began) / 1000,
                 prompts: world.ledger.length, again: world.again, resets: world.farm.resets.length, forgetful,
                 example: counterexample(verdict, history), logs: verdict.wrong.length ? world.stack.logs(60) : '' };
        return result;
    } catch (error) {
        console.error(world.stack.logs(40));
        throw error;
    } finally {
        gauges?.stop();
        await world.stop().catch((error) => { // never instead of what was found
            if (result) result.growth.push(`LEAK the daemons did not end in order: ${error.message}`);
            else console.error(error.message);
        });
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
        `${result.resets} resets (Redis forgot ${result.forgetful} times)`,
        `${result.told} accounts of runs compared, ${result.excused} of them excused (${result.excuses || 'none'}); ` +
        `${result.rows} runs and ${result.prompts} accepted prompts belong to each other, ${result.again} of these were sent again`,
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
        every: { type: 'string', default: '200' }, only: { type: 'string', default: '' },
        plan: { type: 'boolean', default: false } } });
    const { only: names, plan, ...numbers } = values;
    const only = names ? names.split(',') : [];
    if (plan) {
        console.log(planText(Number(values.seed), Number(values.faults), catalogueOf(only)).join('\n'));
        process.exit(0);
    }
    const result = await chaos({
        only, log: (line) => console.log(line),
        ...Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Number(value)])) });
    console.log(summary(result));
    if (result.wrong.length) {
        console.log(`\nseed ${values.seed}, the smallest of ${result.wrong.length}:\n${result.example}\n${result.logs}`);
    }
    process.exitCode = bad(result) ? 1 : 0;
}
