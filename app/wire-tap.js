// The lines of a stream as they are on the wire. EventSource hides them: comments,
// keepalives, `retry:`, where one event ends. So this is a second connection of the
// inspector's own, by fetch, from where the conversation's stream stands; it is open only
// while somebody looks at it, and what it shows is what the server sent to *it*.

/**
 * @typedef {object} Line
 * @property {number} serial
 * @property {number} at Unix milliseconds
 * @property {number} gapMs since the line before
 * @property {string} text without its line end
 * @property {boolean} ours not the server's: the tap says what happened
 */

const LINES_MAX = 50_000;
const LINES_DROPPED = 5_000;
const RETRY_MS = 1_500;

const now = () => performance.timeOrigin + performance.now();

export class WireTap {
    /** @type {Line[]} */
    lines = [];
    version = 0;
    bytes = 0;
    #serial = 0;
    #rest = '';
    #at = now();
    /** where the next connection begins @type {string} */
    #since;
    #abort = new AbortController();
    #url;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #timer;

    /** @param {(since: string) => string} url @param {string} since */
    constructor(url, since) {
        this.#url = url;
        this.#since = since;
        this.#run();
    }

    close() {
        this.#abort.abort();
        clearTimeout(this.#timer);
    }

    clear() {
        this.lines = [];
        this.version++;
    }

    async #run() {
        const { signal } = this.#abort;
        try {
            await this.#read(signal);
            this.#say('the server ended this connection');
        } catch (error) {
            if (signal.aborted) return;
            this.#say(`the connection broke: ${error instanceof Error ? error.message : error}`);
        }
        this.#rest = '';
        if (!signal.aborted) this.#timer = setTimeout(() => this.#run(), RETRY_MS);
    }

    /** @param {AbortSignal} signal */
    async #read(signal) {
        this.#say(`GET …?since=${this.#since || 'run'}`);
        const headers = { Accept: 'text/event-stream' };
        const response = await fetch(this.#url(this.#since), {
            headers,
            signal,
            cache: 'no-store',
        });
        this.#say(`HTTP ${response.status} ${response.headers.get('content-type') ?? ''}`);
        const reader = response.body?.getReader();
        const decoder = new TextDecoder();
        for (;;) {
            const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
            if (done || !value) return;
            this.bytes += value.length;
            this.#take(decoder.decode(value, { stream: true }));
        }
    }

    /** @param {string} text */
    #take(text) {
        const lines = (this.#rest + text).split('\n');
        this.#rest = lines.pop() ?? '';
        for (const line of lines) {
            this.#add(line, false);
            if (line.startsWith('id: ')) this.#since = line.slice(4);
        }
    }

    /** @param {string} text */
    #say(text) {
        this.#add(text, true);
    }

    /** @param {string} text @param {boolean} ours */
    #add(text, ours) {
        if (this.lines.length >= LINES_MAX) this.lines = this.lines.slice(LINES_DROPPED);
        const at = now();
        this.lines.push({ serial: ++this.#serial, at, gapMs: at - this.#at, text, ours });
        this.#at = at;
        this.version++;
    }
}
