// The book-keeping behind the line "412 events · lost 0 · duplicated 0".
//
// Every event that can be resumed carries an id `<epoch>-<n>`, n = 1, 2, 3 … The page asks
// for its stream with `merge=0`, so that within an epoch every n must arrive once: a hole
// is a lost event, a repetition is a duplicate. (Without `merge=0` ids may skip, and then
// holes mean nothing.) Ids of different epochs are never compared.
//
// This file knows nothing about the network or the page. It must never guess: what it
// cannot know, it does not count.

/**
 * @typedef {object} Position
 * @property {string} epoch
 * @property {number} n
 */

/**
 * @param {string | null | undefined} id
 * @returns {Position | null} null for anything that is not an id (`0`, `now`, nothing)
 */
export function parseId(id) {
    const match = /^(\d{1,19})-(\d{1,15})$/.exec(id ?? '');
    return match ? { epoch: match[1], n: Number(match[2]) } : null;
}

/** One epoch: everything below `next` has been seen, but for the `holes`. */
class Epoch {
    /** @param {number} next */
    constructor(next) {
        this.next = next;
        /** @type {[from: number, to: number][]} */
        this.holes = [];
    }

    /**
     * @param {number} n
     * @returns {boolean} false when n was seen before
     */
    see(n) {
        if (n >= this.next) {
            if (n > this.next) this.holes.push([this.next, n - 1]);
            this.next = n + 1;
            return true;
        }
        const at = this.holes.findIndex(([from, to]) => from <= n && n <= to);
        if (at < 0) return false;
        const [from, to] = this.holes[at];
        /** @type {[number, number][]} */
        const rest = [];
        if (from < n) rest.push([from, n - 1]);
        if (n < to) rest.push([n + 1, to]);
        this.holes.splice(at, 1, ...rest);
        return true;
    }

    get missing() {
        return this.holes.reduce((sum, [from, to]) => sum + to - from + 1, 0);
    }
}

export class Ledger {
    /** @type {Map<string, Epoch>} */
    #epochs = new Map();
    #lostBefore = 0;
    #mismatches = 0;

    /** events delivered, with and without an id */
    events = 0;
    /** events without an id: they cannot be resumed and are not part of the sum */
    bare = 0;
    duplicated = 0;
    resets = 0;
    /** the id of the last event, or where the stream began */
    position = '';

    /**
     * The stream begins (again) behind this id: joining, `ready`, or a `reset`, after
     * which what was seen before says nothing about what comes.
     * @param {string} id
     */
    rebase(id) {
        this.#lostBefore += this.#missing();
        this.#epochs.clear();
        const position = parseId(id);
        if (position) this.#epochs.set(position.epoch, new Epoch(position.n + 1));
        this.position = id;
    }

    /** @param {string} id where the stream goes on after a `reset` */
    reset(id) {
        this.resets++;
        this.rebase(id);
    }

    /**
     * @param {string} id the event's own id, '' when it has none
     * @returns {boolean} false for a duplicate, which must not be shown twice
     */
    see(id) {
        this.events++;
        const position = parseId(id);
        if (!position) {
            this.bare++;
            return true;
        }
        let epoch = this.#epochs.get(position.epoch);
        if (!epoch) {
            // A new epoch begins at 1, and somebody who was there before it must see its
            // beginning; somebody who just came in begins wherever the stream begins.
            epoch = new Epoch(this.#epochs.size ? 1 : position.n);
            this.#epochs.set(position.epoch, epoch);
        }
        if (!epoch.see(position.n)) {
            this.duplicated++;
            return false;
        }
        this.position = id;
        return true;
    }

    /** The message in the record is not what the tokens added up to. */
    mismatch() {
        this.#mismatches++;
    }

    get lost() {
        return this.#lostBefore + this.#missing() + this.#mismatches;
    }

    #missing() {
        let sum = 0;
        for (const epoch of this.#epochs.values()) sum += epoch.missing;
        return sum;
    }
}
