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

export class MessageView {
    /** @type {Item | null} */
    #item = null;
    /** @type {readonly Step[]} */
    #steps = [];
    #name = document.createTextNode('');
    #status = make('span', '');
    #list = make('ol', '');
    #summary = make('summary', '');
    #details = make('details', 'steps', this.#summary, this.#list);
    #body = make('p', 'text');
    #text = new GrowingText(this.#body);
    #error = make('p', 'error');
    #again = make('button', 'again', 'Try again');

    /** @param {Item} item @param {(item: Item) => void} onRetry */
    constructor(item, onRetry) {
        this.#again.type = 'button';
        this.#again.onclick = () => this.#item && onRetry(this.#item);
        this.#body.dir = 'auto';
        const label = make('p', 'label', this.#name, ' ', this.#status);
        this.element = make('div', 'message', label, this.#details, this.#body, this.#error, this.#again);
        this.element.classList.add(item.role);
        this.element.setAttribute('part', `message message-${item.role}`);
        this.update(item);
    }

    /** @param {Item} item */
    update(item) {
        if (item === this.#item) return;
        this.#item = item;
        const { role, label, outcome, status, live } = item;
        const error = outcome?.kind === 'error' ? outcome.message || 'This answer failed.' : '';
        const retried = role === 'user' ? status === 'failed' : Boolean(error && item.run);
        setText(this.#name, role === 'user' ? 'You' : label || 'Assistant');
        const silent = live && item.run?.stalled;
        setText(this.#status, silent ? 'its worker is silent; another one takes over soon' : (WORDS.get(status) ?? status));
        this.#drawSteps(item.steps);
        this.#text.set(item.text);
        this.#body.hidden = !item.text;
        this.#error.hidden = !error;
        setText(this.#error, error);
        this.#again.hidden = !retried;
        if (live) this.element.setAttribute('aria-busy', 'true');
        else this.element.removeAttribute('aria-busy');
    }

    /** @param {readonly Step[]} steps */
    #drawSteps(steps) {
        if (steps === this.#steps && steps.length) return;
        this.#details.hidden = steps.length === 0;
        setText(this.#summary, titleOf(steps));
        steps.forEach((step, i) => {
            const known = this.#list.children[i];
            if (known && step === this.#steps[i]) return;
            if (known) setText(known, wordsOf(step));
            else this.#list.append(make('li', '', wordsOf(step)));
        });
        while (this.#list.children.length > steps.length) this.#list.lastElementChild?.remove();
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
