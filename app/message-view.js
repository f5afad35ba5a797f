// One prompt, answer or note. Made once, updated as its item changes.

import { h, setText } from './dom.js';
import { FormattedText } from './format.js';
import { StepsView } from './steps-view.js';

/**
 * @typedef {import('./thread-state.js').Item} Item
 * @typedef {import('./thread-state.js').Run} Run
 *
 * @typedef {object} Facts what the conversation knows about an answer besides its text
 * @property {number | null} firstTokenMs
 * @property {boolean | undefined} verified equal to the record?
 * @property {boolean} stopping
 */

/** @type {Record<string, string>} */
const STATUS_WORDS = {
    queued: 'Queued',
    started: 'Started',
    rewind: 'Starting over',
    thinking: 'Thinking',
    working: 'Working',
    typing: 'Writing',
    cancelled: 'Stopping',
    outside: '',
};

export class MessageView {
    #label = h('span', { class: 'message-label' });
    #status = h('span', { class: 'message-status' });
    #steps = new StepsView();
    #body = h('div', { class: 'message-text' });
    #formatted = new FormattedText(this.#body);
    #error = h('p', { class: 'message-error', hidden: true });
    #facts = h('p', { class: 'message-facts', hidden: true });

    /** @param {Item} item */
    constructor(item) {
        this.element = h('article', { class: `message from-${item.role}`, 'data-key': item.key });
        if (item.role === 'assistant') {
            this.element.append(
                h('header', { class: 'message-head' }, this.#label, this.#status),
                this.#steps.element,
                this.#body,
                this.#error,
                this.#facts,
            );
        } else {
            this.#body.setAttribute('dir', 'auto');
            this.element.append(
                h('h2', { class: 'unseen' }, item.role === 'user' ? 'You' : item.label),
            );
            if (item.role === 'note')
                this.element.append(h('span', { class: 'note-type' }, item.label));
            this.element.append(this.#body);
        }
    }

    /**
     * @param {Item} item
     * @param {Facts} facts
     */
    update(item, facts) {
        if (item.role !== 'assistant') return setText(this.#body, item.text);
        const { run } = item;
        const live = Boolean(run && !run.outcome && run.status !== 'outside');
        this.element.classList.toggle('is-live', live);
        this.element.classList.toggle('is-waiting', live && !item.text);
        this.element.setAttribute('aria-busy', String(live));
        setText(this.#label, item.label || 'Assistant');
        setText(this.#status, run && live ? statusOf(run, facts.stopping) : endOf(item));
        this.#steps.update(run?.steps ?? [], live && run?.status !== 'typing');
        this.#formatted.set(item.text);
        const error =
            item.outcome?.kind === 'error' ? item.outcome.message || 'The run failed.' : '';
        this.#error.hidden = !error;
        setText(this.#error, error);
        const words = run ? factsOf(run, facts) : '';
        this.#facts.hidden = !words;
        setText(this.#facts, words);
    }
}

/** @param {Run} run @param {boolean} stopping */
function statusOf(run, stopping) {
    if (stopping) return 'Stopping…';
    if (run.stalled) return 'Its worker is silent; another one takes over soon';
    if (!run.joined && run.attempt > 0) return 'Answering; the text follows at the end';
    return `${STATUS_WORDS[run.status] ?? run.status}…`;
}

/** @param {Item} item */
function endOf({ run, outcome }) {
    if (run?.status === 'outside') return 'from outside';
    switch (outcome?.kind) {
        case 'cancelled':
            return 'Stopped';
        case 'error':
            return 'Failed';
        default:
            return outcome?.reason === 'length' ? 'Cut at its length limit' : '';
    }
}

/** @param {Run} run @param {Facts} facts */
function factsOf(run, { firstTokenMs, verified }) {
    if (!run.outcome) return '';
    const seconds = (run.endedAt - run.startedAt) / 1000;
    return [
        run.tokens > 0 && `${run.tokens} tokens in ${seconds.toFixed(1)} s`,
        firstTokenMs !== null && `first token ${formatMs(firstTokenMs)}`,
        run.usage?.totalTokens != null && `usage ${run.usage.totalTokens}`,
        run.rewinds > 0 && `started over ${run.rewinds}×`,
        verified === true && '✓ equals the record',
        verified === false && '✗ differs from the record',
    ]
        .filter(Boolean)
        .join(' · ');
}

/** @param {number} ms */
export function formatMs(ms) {
    return ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
}
