// Where a reader stands in each of its threads, and what it has been told already: which
// `since` the next connection begins with, and which events are new.

const EPOCHS_KEPT = 256; // of all threads

/** @typedef {{ id: string, thread: string, replayed: boolean }} Info of one event */

export class Place {
    /** thread → its position, `0` before its first event; '' as long as none is known @type {Map<string, string>} */
    #at;
    #since;
    /** `<thread> <epoch>` → the last number told since a reset, the last one ever told
     * @type {Map<string, [number, number]>} */
    #told = new Map();
    /** events that came twice and were dropped */
    duplicates = 0;

    /** @param {string[]} threads of a run's stream: one, without a name @param {string} since */
    constructor(threads, since) {
        this.#at = new Map(threads.map((thread) => [thread, '']));
        this.#since = since;
        if (since.includes('-')) this.move(since);
    }

    get threads() { return [...this.#at.keys()]; }

    /** '' before anything is known; of several threads one for each, `0` where there is none */
    get position() {
        const all = [...this.#at.values()];
        return all.some(Boolean) ? all.map((id) => id || '0').join() : '';
    }

    /** What a connection begins with: a position, or a word. */
    get since() { return this.position || this.#since; }

    /** @param {string} id as it stands on the stream @param {string} [thread] that one's alone */
    move(id, thread) {
        if (!id) return;
        if (thread !== undefined) {
            if (this.#at.has(thread)) this.#at.set(thread, id);
            return;
        }
        const ids = id.split(',');
        if (ids.length !== this.#at.size) return;
        this.threads.forEach((name, i) => this.#at.set(name, ids[i]));
    }

    /** @param {string} thread */
    at(thread) { return this.#at.get(thread) ?? ''; }

    /** @param {string} thread @param {string} id '': everything that is kept of it */
    add(thread, id) { this.#at.set(thread, id); }

    /** @param {string} thread */
    remove(thread) { this.#at.delete(thread); }

    /** What came may come again. @param {string | undefined} thread undefined: of all */
    reset(thread) {
        for (const [key, told] of this.#told) {
            if (thread === undefined || key.startsWith(`${thread} `)) told[0] = 0;
        }
    }

    /** null: it was told before. @param {any} event @returns {Info | null} */
    take(event) {
        const id = typeof event.id === 'string' ? event.id : '';
        const thread = String(event.threadId ?? (this.#at.size === 1 ? this.threads[0] : ''));
        if (!id) return { id, thread, replayed: false };
        const dash = id.lastIndexOf('-'), n = +id.slice(dash + 1);
        const key = `${thread} ${id.slice(0, dash)}`;
        const told = this.#told.get(key) ?? [0, 0];
        if (n <= told[0]) {
            this.duplicates++;
            return null;
        }
        const replayed = n <= told[1];
        this.#told.set(key, [n, Math.max(n, told[1])]);
        if (this.#told.size > EPOCHS_KEPT) this.#told.delete([...this.#told.keys()][0]);
        return { id, thread, replayed };
    }
}
