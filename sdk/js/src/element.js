// A thread on a page without a framework:
//
//     <script type="module" src="https://bridge.example/client/element.js"></script>
//     <threadcast-thread src="https://bridge.example/" thread="t1" ticket="…" composer></threadcast-thread>
//
//   src       the bridge, with its --base-path; none: where the page is
//   thread    the thread's id
//   ticket    what lets it in, from `POST /v1/tickets`: it reads, and sends nothing
//   token     … or a bearer token; better is the property `getToken`, a function
//   composer  shows where to write
//   agent     who answers; several, with blanks between: side by side
//   label     what it is called, for who does not see it
//
// Each is a property too. It fires `threadcast-state`, `threadcast-event` and
// `threadcast-notice`, and has `send`, `stop`, `retry`, `reconnect` and `snapshot`.
//
// What is heard by who listens to the page: the list is a log that is not read out as it
// grows, token by token, which nobody could bear; each answer is, once it is whole.

import { dress } from './element-style.js';
import { MessageList } from './element-list.js';
import { make, setText } from './element-message.js';
import { Thread } from './thread.js';

/**
 * @typedef {import('./thread.js').ThreadOptions} ThreadOptions
 * @typedef {import('./snapshot.js').Snapshot} Snapshot
 * @typedef {import('./state.js').Item} Item
 */

/** closer to the end than this, and the view stays there */
const NEAR_END_PX = 60;
const ATTRIBUTES = ['src', 'thread', 'ticket', 'token', 'composer', 'agent', 'label'];

const Base = globalThis.HTMLElement ?? /** @type {typeof HTMLElement} */ (class {});

export class ThreadcastThread extends Base {
    static observedAttributes = ATTRIBUTES;

    /** @type {Thread | null} */
    #thread = null;
    /** @type {() => void} */
    #leave = () => {};
    /** @type {ThreadOptions['getToken']} */
    #getToken;
    #opening = false;
    #follow = true;
    #top = 0;
    /** answers that were live when they were last drawn @type {Set<string>} */
    #live = new Set();
    /** answers that were drawn when they had ended @type {Set<string>} */
    #told = new Set();
    /** the connection was live when this was last drawn */
    #settled = false;

    #earlier = make('button', 'earlier', 'Show earlier messages');
    #list = new MessageList((item) => this.#retryItem(item));
    #log = make('div', 'log', this.#earlier, this.#list.element);
    #words = make('span', '');
    #again = make('button', 'reconnect', 'Connect again');
    #state = make('p', 'state', this.#words, this.#again);
    #input = make('textarea', 'input');
    #send = make('button', 'send', 'Send');
    #stop = make('button', 'stop', 'Stop');
    #form = make('form', 'composer', this.#input, this.#stop, this.#send);
    #spoken = make('div', 'unseen');

    constructor() {
        super();
        const root = this.attachShadow({ mode: 'open' });
        dress(root);
        this.#describe();
        root.append(this.#log, this.#state, this.#form, this.#spoken);
        this.#log.addEventListener('scroll', () => this.#onScroll());
        const sizes = new ResizeObserver(() => this.#follow && this.#toEnd());
        for (const node of [this.#log, this.#list.element]) sizes.observe(node);
        this.#earlier.onclick = () => this.#loadEarlier();
        this.#again.onclick = () => this.reconnect();
        this.#stop.onclick = () => this.stop();
        this.#form.onsubmit = (event) => {
            event.preventDefault();
            this.#submit();
        };
        this.#input.onkeydown = (event) => {
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            this.#submit();
        };
    }

    #describe() {
        this.#log.setAttribute('role', 'log');
        this.#log.setAttribute('aria-live', 'off');
        this.#log.tabIndex = 0;
        this.#state.setAttribute('role', 'status');
        this.#spoken.setAttribute('aria-live', 'polite');
        this.#input.rows = 1;
        this.#input.setAttribute('aria-label', 'Your message');
        for (const button of [this.#earlier, this.#again, this.#stop]) button.type = 'button';
        for (const node of [this.#earlier, this.#state, this.#again, this.#form, this.#stop]) node.hidden = true;
    }

    connectedCallback() {
        for (const name of [...ATTRIBUTES, 'getToken']) this.#upgrade(name);
        this.#log.setAttribute('aria-label', this.label || 'Conversation');
        this.#reopen();
    }

    disconnectedCallback() {
        this.#leave();
        this.#thread = null;
    }

    /** @param {string} name @param {string | null} before */
    attributeChangedCallback(name, before) {
        if (name === 'label') this.#log.setAttribute('aria-label', this.label || 'Conversation');
        else if (name === 'composer') this.#draw();
        // another token is asked for when it is needed, and so is who answers
        else if (name !== 'agent' && !(name === 'token' && before)) this.#reopen();
    }

    /** What was set before this class was known. @param {string} name */
    #upgrade(name) {
        const own = /** @type {any} */ (this);
        if (!Object.hasOwn(own, name)) return;
        const value = own[name];
        delete own[name];
        own[name] = value;
    }

    get src() { return this.getAttribute('src') ?? ''; }
    set src(value) { this.setAttribute('src', value); }
    get thread() { return this.getAttribute('thread') ?? ''; }
    set thread(value) { this.setAttribute('thread', value); }
    get ticket() { return this.getAttribute('ticket') ?? ''; }
    set ticket(value) { this.setAttribute('ticket', value); }
    get token() { return this.getAttribute('token') ?? ''; }
    set token(value) { this.setAttribute('token', value); }
    get agent() { return this.getAttribute('agent') ?? ''; }
    set agent(value) { this.setAttribute('agent', value); }
    get label() { return this.getAttribute('label') ?? ''; }
    set label(value) { this.setAttribute('label', value); }
    get composer() { return this.hasAttribute('composer'); }
    set composer(value) { this.toggleAttribute('composer', Boolean(value)); }
    get getToken() { return this.#getToken; }
    set getToken(value) {
        this.#getToken = value;
        this.#reopen();
    }

    /** What is shown. @returns {Snapshot | null} */
    get snapshot() { return this.#thread?.getSnapshot() ?? null; }

    /** @param {string} content @param {object} [more] */
    async send(content, more) { return this.#thread?.send(content, more) ?? null; }
    /** @param {string} [runId] */
    async stop(runId) { return this.#thread?.stop(runId); }
    /** @param {string} [id] */
    async retry(id) { return this.#thread?.retry(id) ?? null; }
    reconnect() { this.#thread?.reconnect(); }

    // ---- the thread ------------------------------------------------------------------------

    /** Several changes at once are one. */
    #reopen() {
        if (this.#opening) return;
        this.#opening = true;
        queueMicrotask(() => {
            this.#opening = false;
            this.#open();
        });
    }

    #open() {
        this.#leave();
        this.#clear();
        if (!this.isConnected || !this.thread) return;
        const thread = this.#thread = new Thread(this.thread, () => this.#options);
        const unsubscribe = thread.subscribe(() => this.#draw());
        this.#leave = () => {
            unsubscribe();
            thread.close();
            this.#leave = () => {};
        };
        this.#draw();
    }

    /** @returns {ThreadOptions} */
    get #options() {
        const { src: url, ticket, token } = this;
        const agents = this.agent.split(/\s+/).filter(Boolean);
        const getToken = this.#getToken ?? (token ? () => this.token : undefined);
        return {
            url, ticket: ticket || undefined, ...(getToken && { getToken }),
            ...(agents.length === 1 && { agent: agents[0] }), ...(agents.length > 1 && { agents }),
            onEvent: (event, info) => this.#fire('event', { event, info }),
            onState: (state, detail) => this.#fire('state', { state, detail }),
            onNotice: (name, data) => this.#fire('notice', { name, data }),
        };
    }

    /** @param {string} name @param {object} detail */
    #fire(name, detail) {
        this.dispatchEvent(new CustomEvent(`threadcast-${name}`, { detail, bubbles: true, composed: true }));
    }

    #submit() {
        const text = this.#input.value.trim();
        if (!text) return;
        this.#input.value = '';
        this.#follow = true;
        this.send(text);
    }

    // ---- drawing ---------------------------------------------------------------------------

    #clear() {
        this.#thread = null;
        this.#live.clear();
        this.#told.clear();
        this.#settled = false;
        this.#list.clear();
        this.#follow = true;
    }

    #draw() {
        const shown = this.snapshot;
        if (!shown) return;
        this.#earlier.hidden = !shown.hasEarlier;
        for (const item of this.#list.draw(shown.messages)) this.#listen(item);
        this.#drawState(shown);
        this.#form.hidden = !this.composer || shown.readOnly;
        this.#stop.hidden = shown.runs.length === 0;
        if (this.#follow) this.#toEnd();
        this.#settled = shown.state === 'live';
    }

    /** @param {Item} item */
    #retryItem(item) {
        this.retry(item.run?.runId ?? item.key);
    }

    /**
     * An answer that has ended is read out, once: when it was seen to be made, or came all at
     * once while this was being followed. What is told of the past is not.
     * @param {Item} item
     */
    #listen({ key, role, live, run, label, text, outcome }) {
        if (role !== 'assistant') return;
        if (live) this.#live.add(key);
        if (live || this.#told.has(key)) return;
        this.#told.add(key);
        if (!this.#live.delete(key) && !(run && this.#settled)) return;
        const end = outcome?.kind === 'error' ? outcome.message : outcome?.kind === 'cancelled' ? 'Stopped.' : '';
        setText(this.#spoken, `${label || 'Assistant'}: ${text} ${end}`.trim());
    }

    /** @param {Snapshot} shown */
    #drawState({ state, detail, error }) {
        const words = state === 'live' ? error : `${state === 'reconnecting' ? 'Reconnecting. ' : ''}${detail.message} ${error}`.trim();
        this.#state.hidden = !words;
        this.#state.className = `state ${state}`;
        this.#state.setAttribute('part', `state state-${state}`);
        setText(this.#words, words);
        this.#again.hidden = state !== 'failed';
    }

    #toEnd() {
        this.#log.scrollTop = this.#log.scrollHeight;
    }

    /** Only somebody who scrolls *up* wants to stay there; a change of size scrolls as well. */
    #onScroll() {
        const { scrollTop, scrollHeight, clientHeight } = this.#log;
        if (scrollHeight - clientHeight - scrollTop < NEAR_END_PX) this.#follow = true;
        else if (scrollTop < this.#top) this.#follow = false;
        this.#top = scrollTop;
    }

    async #loadEarlier() {
        const bottom = this.#log.scrollHeight - this.#log.scrollTop;
        this.#follow = false;
        await this.#thread?.loadEarlier();
        requestAnimationFrame(() => { this.#log.scrollTop = this.#log.scrollHeight - bottom; });
    }
}

if (globalThis.customElements && !customElements.get('threadcast-thread')) {
    customElements.define('threadcast-thread', ThreadcastThread);
}
