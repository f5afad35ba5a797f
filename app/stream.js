// One stream of one thread over the browser's own EventSource.
//
// EventSource already does the hard part: when a connection dies, it reconnects by itself
// and sends the last id it saw (`Last-Event-ID`). What is left for a page to do is here:
//
//   1. remember the last id, for the two cases EventSource does not cover:
//   2. any answer other than 200 makes EventSource give up for ever (readyState CLOSED).
//      Then we ask the API what is going on and, if it may pass, make a new one
//      with `?since=<last id>`, later and later, never all at the same moment;
//   3. the network comes back (`online`): do not wait for a timer to notice.
//
// Events are unnamed: `onmessage` sees them all. What the server itself has to say has
// names (NOTICES), which `onmessage` never sees.
//
// Nothing here knows what an event means.

/**
 * @typedef {'connecting' | 'live' | 'reconnecting' | 'offline' | 'refused' | 'closed'} LinkState
 *
 * @typedef {'ready' | 'reset' | 'bye' | 'busy' | 'auth' | 'stalled'} NoticeName
 *
 * @typedef {object} StreamOptions
 * @property {(since: string) => string} url
 * @property {string} since where to begin: the `cursor` of the history
 * @property {(event: any, id: string) => void} onEvent `id` is '' for an event without one
 * @property {(name: NoticeName, data: any, id: string) => void} onNotice
 * @property {(state: LinkState) => void} onLink
 * @property {() => Promise<boolean>} mayRetry asked when EventSource has given up:
 *     true: try again; false: this stream is refused for good. May throw: try again later
 */

/** @type {NoticeName[]} */
const NOTICES = ['ready', 'reset', 'bye', 'busy', 'auth', 'stalled'];

const BACKOFF_MS = 500;
const BACKOFF_MAX_MS = 15_000;
/** reconnecting for longer than this is called offline */
const OFFLINE_AFTER_MS = 6_000;

export class ThreadStream {
    /** @type {StreamOptions} */
    #options;
    /** @type {EventSource | null} */
    #source = null;
    #position;
    #failures = 0;
    #opened = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #retryTimer;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #offlineTimer;

    /** @type {LinkState} */
    state = 'connecting';
    /** how often a connection was opened after the first one */
    reconnects = 0;
    /** messages that were not JSON */
    malformed = 0;

    /** @param {StreamOptions} options */
    constructor(options) {
        this.#options = options;
        this.#position = options.since;
        globalThis.addEventListener('online', this.#onOnline);
        globalThis.addEventListener('offline', this.#onOffline);
        this.#connect();
    }

    close() {
        globalThis.removeEventListener('online', this.#onOnline);
        globalThis.removeEventListener('offline', this.#onOffline);
        this.#drop();
        clearTimeout(this.#offlineTimer);
        this.#enter('closed');
    }

    #connect() {
        this.#drop();
        const source = new EventSource(this.#options.url(this.#position));
        this.#source = source;
        source.onopen = () => this.#onOpen();
        source.onmessage = (message) => this.#onMessage(message);
        source.onerror = () => this.#onError(source);
        for (const name of NOTICES) {
            source.addEventListener(name, (message) => this.#onNotice(name, message));
        }
    }

    #drop() {
        clearTimeout(this.#retryTimer);
        this.#source?.close();
        this.#source = null;
    }

    #onOpen() {
        if (this.#opened) this.reconnects++;
        this.#opened = true;
        this.#failures = 0;
        clearTimeout(this.#offlineTimer);
        this.#offlineTimer = undefined;
        this.#enter('live');
    }

    /** @param {MessageEvent} message */
    #onMessage(message) {
        let event;
        try {
            event = JSON.parse(message.data);
        } catch {
            this.malformed++;
            return;
        }
        if (message.lastEventId) this.#position = message.lastEventId;
        // `lastEventId` sticks: behind an event without an id it still shows the one
        // before. So the id of *this* event is the one that stands inside it.
        this.#options.onEvent(event, typeof event?.id === 'string' ? event.id : '');
    }

    /**
     * @param {NoticeName} name
     * @param {MessageEvent} message
     */
    #onNotice(name, message) {
        let data = {};
        try {
            data = JSON.parse(message.data);
        } catch {
            // the name alone says what matters
        }
        if (message.lastEventId) this.#position = message.lastEventId;
        this.#options.onNotice(name, data, message.lastEventId);
    }

    /** @param {EventSource} source */
    #onError(source) {
        if (source !== this.#source) return;
        this.#lost();
        // CONNECTING: EventSource is at it already, with Last-Event-ID. CLOSED: it gave up.
        if (source.readyState === EventSource.CLOSED) this.#askThenRetry();
    }

    #lost() {
        if (this.state === 'refused') return;
        if (this.state !== 'offline') this.#enter(navigator.onLine ? 'reconnecting' : 'offline');
        this.#offlineTimer ??= setTimeout(() => this.#enter('offline'), OFFLINE_AFTER_MS);
    }

    async #askThenRetry() {
        const source = this.#source;
        let again = true;
        try {
            again = await this.#options.mayRetry();
        } catch {
            // no answer: that may pass as well
        }
        if (source !== this.#source) return;
        if (!again) {
            this.#drop();
            clearTimeout(this.#offlineTimer);
            this.#enter('refused');
            return;
        }
        const longest = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** this.#failures++);
        this.#retryTimer = setTimeout(() => this.#reopen(), longest * (0.5 + Math.random() / 2));
    }

    /** A new EventSource, without forgetting that we have been away for a while. */
    #reopen() {
        this.#connect();
        this.#lost();
    }

    #onOnline = () => {
        if (this.state !== 'refused' && this.state !== 'closed') this.#reopen();
    };

    #onOffline = () => {
        if (this.state !== 'refused' && this.state !== 'closed') this.#enter('offline');
    };

    /** @param {LinkState} state */
    #enter(state) {
        if (this.state === state) return;
        this.state = state;
        this.#options.onLink(state);
    }
}
