// What chaos is going to do: two lanes of faults, each a function of the seed alone. Every
// fault has a generator of its own, made of seed, lane and number, from which come its
// kind, the pause behind it, and all that it draws while it happens: how long another one
// took, or what the other lane does meanwhile, changes none of them.

import { random } from '../e2e/lib/ledger.mjs';

/** @typedef {import('./faults.mjs').Fault} Fault */

export const LANES = 2;

/**
 * @typedef {object} Planned
 * @property {number} lane
 * @property {number} index its number in that lane, from 0
 * @property {Fault} fault
 * @property {number} rest in [0, 1): the pause behind it
 * @property {() => number} draw what else it needs
 */

/** @param {number} seed @param {number} lane @param {number} index @param {Fault[]} catalogue @returns {Planned} */
export function planned(seed, lane, index, catalogue) {
    const draw = random(`fault ${seed} ${lane} ${index}`);
    const fault = catalogue[Math.floor(draw() * catalogue.length)];
    return { lane, index, fault, rest: draw(), draw };
}

/** So many faults of each lane, as text. @param {number} seed @param {number} faults in all @param {Fault[]} catalogue */
export function planText(seed, faults, catalogue) {
    return Array.from({ length: faults }, (_, i) => planned(seed, i % LANES, Math.floor(i / LANES), catalogue))
        .map(({ lane, index, fault, rest, draw }) =>
            `lane ${lane}, ${index}: ${fault.name} (draws ${[draw(), draw(), draw()].map((x) => x.toFixed(4)).join(' ')} …), ` +
            `then ${rest.toFixed(4)} of the longest pause`);
}

/** One fault of a part at a time: who comes second waits, and keeps what it has drawn. */
export class Turns {
    /** @type {Map<string, Promise<void>>} */
    #busy = new Map();

    /** @template T @param {string} part @param {() => Promise<T>} work @returns {Promise<T>} */
    async take(part, work) {
        for (let other; (other = this.#busy.get(part));) await other;
        let end = () => {};
        this.#busy.set(part, new Promise((resolve) => (end = () => resolve(undefined))));
        try {
            return await work();
        } finally {
            this.#busy.delete(part);
            end();
        }
    }
}
