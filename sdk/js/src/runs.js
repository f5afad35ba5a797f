// The runs of a thread, in order of appearance: a map that is never changed, always
// replaced, as everything in a state. A token replaces one run, and a long conversation has
// thousands: so they lie in short arrays, and only the one that is touched is copied, not
// all of them. What was added last is known by a shared index that only grows; a map that
// is not the newest any more makes its own when something is added to it.

/** @typedef {import('./run.js').Run} Run */

const WIDTH = 64;

/** @implements {ReadonlyMap<string, Run>} */
export class Runs {
    /** @type {readonly (readonly Run[])[]} */
    #chunks;
    /** @type {Map<string, number>} id → place; may know places that this map has not */
    #places;
    #size;

    /**
     * @param {readonly (readonly Run[])[]} [chunks]
     * @param {Map<string, number>} [places]
     * @param {number} [size]
     */
    constructor(chunks = [], places = new Map(), size = 0) {
        this.#chunks = chunks;
        this.#places = places;
        this.#size = size;
    }

    get size() {
        return this.#size;
    }

    /** @param {string} id @returns {Run | undefined} */
    get(id) {
        const place = this.#place(id);
        return place < 0 ? undefined : this.#chunks[Math.floor(place / WIDTH)][place % WIDTH];
    }

    /** @param {string} id */
    has(id) {
        return this.#place(id) >= 0;
    }

    /** The one that appeared last. @returns {Run | undefined} */
    last() {
        return this.#chunks.at(-1)?.at(-1);
    }

    /** A map with this run, in its old place when it has one. @param {Run} run */
    with(run) {
        const place = this.#place(run.runId);
        if (place >= 0) return this.#replaced(place, run);
        let places = this.#places;
        if (places.size !== this.#size)
            places = new Map([...places].filter(([, other]) => other < this.#size));
        places.set(run.runId, this.#size);
        return new Runs(this.#put(this.#size, run), places, this.#size + 1);
    }

    /** Those that are not in `other`, or other ones there. @param {Runs} other @returns {Run[]} */
    differing(other) {
        return this.#chunks.flatMap((chunk, at) => {
            const before = other.#chunks[at];
            return chunk === before ? [] : chunk.filter((run, i) => run !== before?.[i]);
        });
    }

    /** @returns {MapIterator<Run>} */
    *values() {
        for (const chunk of this.#chunks) yield* chunk;
    }

    /** @returns {MapIterator<string>} */
    *keys() {
        for (const run of this.values()) yield run.runId;
    }

    /** @returns {MapIterator<[string, Run]>} */
    *entries() {
        for (const run of this.values()) yield [run.runId, run];
    }

    [Symbol.iterator]() {
        return this.entries();
    }

    /**
     * @param {(run: Run, id: string, runs: ReadonlyMap<string, Run>) => void} visit
     * @param {any} [self]
     */
    forEach(visit, self) {
        for (const run of this.values()) visit.call(self, run, run.runId, this);
    }

    /** @param {string} id */
    #place(id) {
        const place = this.#places.get(id) ?? -1;
        return place < this.#size ? place : -1;
    }

    /** @param {number} place @param {Run} run */
    #replaced(place, run) {
        return new Runs(this.#put(place, run), this.#places, this.#size);
    }

    /** @param {number} place @param {Run} run */
    #put(place, run) {
        const at = Math.floor(place / WIDTH);
        const chunk = [...(this.#chunks[at] ?? [])];
        chunk[place % WIDTH] = run;
        const chunks = [...this.#chunks];
        chunks[at] = chunk;
        return chunks;
    }
}
