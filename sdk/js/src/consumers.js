// Who is told: handlers by name, and loops. A loop takes its time: what it has not taken yet
// waits, and above a limit reading pauses.

export class Consumers {
    /** @type {Map<string, Set<(...args: any[]) => void>>} */
    #handlers = new Map();
    /** @type {Set<{ events: [any, string][], wake: () => void }>} */
    #loops = new Set();
    #max;
    #onFull;
    #full = false;
    #stream;
    /** @type {{ error?: Error } | null} */
    #end = null;
    /** behind the event that a loop took last @type {string | null} */
    position = null;

    /** @param {import('./stream.js').Stream} stream @param {number} max @param {(full: boolean) => void} onFull */
    constructor(stream, max, onFull) {
        this.#stream = stream;
        this.#max = max;
        this.#onFull = onFull;
    }

    /** @param {string} name @param {(...args: any[]) => void} handler */
    on(name, handler) {
        const all = this.#handlers.get(name) ?? new Set();
        this.#handlers.set(name, all.add(handler));
        return () => { all.delete(handler); };
    }

    /** What a handler throws is its page's business. @param {string} name @param {any[]} args */
    emit(name, ...args) {
        for (const handler of [...this.#handlers.get(name) ?? []]) {
            try {
                handler(...args);
            } catch (error) {
                queueMicrotask(() => { throw error; });
            }
        }
    }

    /** @param {any} event @param {import('./place.js').Info} info @param {string} position behind it */
    event(event, info, position) {
        for (const loop of this.#loops) {
            loop.events.push([event, position]);
            loop.wake();
            if (loop.events.length >= this.#max) this.#set(true);
        }
        this.emit('event', event, info);
        if (!['event', 'state', 'notice'].includes(event.type)) this.emit(event.type, event, info);
    }

    /** @param {boolean} full */
    #set(full) {
        if (this.#full === full) return;
        this.#full = full;
        this.#onFull(full);
    }

    /** Nothing follows. @param {Error} [error] */
    end(error) {
        this.#end = { error };
        for (const { wake } of this.#loops) wake();
    }

    /** @param {() => string} position of the stream */
    iterate(position) {
        this.#end = this.#stream.state === 'ended' || this.#stream.state === 'failed' ? this.#end : null;
        /** @type {{ events: [any, string][], wake: () => void }} */
        const loop = { events: [], wake: () => {} };
        this.#loops.add(loop);
        this.position ??= position();
        return this.#loop(loop);
    }

    /** @param {{ events: [any, string][], wake: () => void }} loop @returns {AsyncGenerator<import('./stream.js').ThreadEvent, void, unknown>} */
    async* #loop(loop) {
        try {
            for (;;) {
                while (loop.events.length) {
                    const [event, position] = /** @type {[any, string]} */ (loop.events.shift());
                    this.position = position;
                    if (this.#full && loop.events.length * 2 < this.#max) this.#set(false);
                    yield event;
                }
                if (this.#end?.error) throw this.#end.error;
                if (this.#end) return;
                await new Promise((resolve) => { loop.wake = () => resolve(undefined); });
            }
        } finally {
            this.#loops.delete(loop);
            this.#stream.close();
        }
    }
}
