// One message of <threadcast-thread>. Made once, changed as its item changes; whatever came
// from somewhere is put into the page as text and as nothing else.

/**
 * @typedef {import('./state.js').Item} Item
 * @typedef {import('./state.js').Step} Step
 */

/** of a status; another one is shown as it is */
const WORDS = new Map(Object.entries({
    queued: 'waiting', started: 'started', rewind: 'starting over', thinking: 'thinking', working: 'working',
    typing: 'writing', cancelled: 'stopped', error: 'failed', sending: 'sending', failed: 'not sent',
    done: '', outside: '',
}));

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} part also its class
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, part, ...children) {
    const node = document.createElement(tag);
    if (part) {
        node.className = part;
        node.setAttribute('part', part);
    }
    node.append(...children);
    return node;
}

/** A text that mostly grows: what is new is added, so that a long one costs no more. */
class GrowingText {
    #node = document.createTextNode('');
    #text = '';

    /** @param {Element} element */
    constructor(element) {
        element.append(this.#node);
    }

    /** @param {string} text */
    set(text) {
        if (text === this.#text) return;
        if (this.#text && text.startsWith(this.#text)) this.#node.appendData(text.slice(this.#text.length));
        else this.#node.data = text;
        this.#text = text;
    }
}

/** @type {readonly Step[]} */
const NONE = [];

export class MessageView {
    /** @type {Item | null} */
    #item = null;
    /** @type {readonly Step[]} */
    #steps = NONE;
    #name = document.createTextNode('');
    #status = document.createTextNode('');
    #body = make('p', 'text');
    #text = new GrowingText(this.#body);
    // most messages have none of these
    /** @type {{ all: HTMLElement, summary: HTMLElement, list: HTMLElement } | null} */
    #details = null;
    /** @type {HTMLElement | null} */
    #error = null;
    /** @type {HTMLButtonElement | null} */
    #again = null;
    #onRetry;

    /** @param {Item} item @param {(item: Item) => void} onRetry */
    constructor(item, onRetry) {
        this.#onRetry = onRetry;
        this.#body.dir = 'auto';
        this.element = make('div', 'message', make('p', 'label', this.#name, this.#status), this.#body);
        this.element.classList.add(item.role);
        this.element.setAttribute('part', `message message-${item.role}`);
        this.update(item);
    }

    /** @param {Item} item */
    update(item) {
        if (item === this.#item) return;
        this.#item = item;
        const { role, label, outcome, status, live } = item;
        const silent = live && item.run?.stalled;
        const words = silent ? 'its worker is silent; another one takes over soon' : (WORDS.get(status) ?? status);
        setText(this.#name, role === 'user' ? 'You' : label || 'Assistant');
        setText(this.#status, words && `: ${words}`);
        if (item.steps !== this.#steps && (item.steps.length || this.#details)) this.#drawSteps(item.steps);
        this.#text.set(item.text);
        const error = outcome?.kind === 'error' ? outcome.message || 'This answer failed.' : '';
        this.#drawError(error, role === 'user' ? status === 'failed' : Boolean(error && item.run));
        if (live) this.element.setAttribute('aria-busy', 'true');
        else this.element.removeAttribute('aria-busy');
    }

    /** @param {string} error @param {boolean} retried */
    #drawError(error, retried) {
        if (error && !this.#error) this.element.append((this.#error = make('p', 'error')));
        if (retried && !this.#again) {
            this.#again = make('button', 'again', 'Try again');
            this.#again.type = 'button';
            this.#again.onclick = () => this.#item && this.#onRetry(this.#item);
            this.element.append(this.#again);
        }
        if (this.#error) {
            this.#error.hidden = !error;
            setText(this.#error, error);
        }
        if (this.#again) this.#again.hidden = !retried;
    }

    /** @param {readonly Step[]} steps */
    #drawSteps(steps) {
        if (!this.#details) {
            const [summary, list] = [make('summary', ''), make('ol', '')];
            this.#details = { all: make('details', 'steps', summary, list), summary, list };
            this.#body.before(this.#details.all);
        }
        const { all, summary, list } = this.#details;
        all.hidden = steps.length === 0;
        setText(summary, titleOf(steps));
        steps.forEach((step, i) => {
            const known = list.children[i];
            if (known && step === this.#steps[i]) return;
            if (known) setText(known, wordsOf(step));
            else list.append(make('li', '', wordsOf(step)));
        });
        while (list.children.length > steps.length) list.lastElementChild?.remove();
        this.#steps = steps;
    }
}

/** @param {Node} node @param {string} text */
export function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
}

/** @param {readonly Step[]} steps */
function titleOf(steps) {
    const tools = steps.filter(({ kind }) => kind === 'tool').length;
    const others = steps.filter(({ kind }) => kind !== 'tool' && kind !== 'reasoning').length;
    const words = [
        steps.some(({ kind }) => kind === 'reasoning') && 'Reasoning',
        tools && `${tools} tool ${tools === 1 ? 'call' : 'calls'}`,
        others && `${others} ${others === 1 ? 'step' : 'steps'}`,
    ];
    return words.filter(Boolean).join(' · ');
}

/** @param {Step} step */
function wordsOf({ kind, name, text, state, input, output }) {
    if (kind === 'reasoning') return text;
    const end = state === 'failed' ? ' (failed)' : state === 'open' ? ' …' : '';
    const values = [input, output].filter((value) => value !== undefined);
    return [name + end, text, ...values.map(valueText)].filter(Boolean).join('\n');
}

/** @param {any} value */
const valueText = (value) => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
