// What stands above the messages while the connection is not what it should be: away,
// silent, or fine but with a worker that says nothing. Short interruptions, which nobody
// would notice otherwise, are not announced.

import { h, icon, setText } from './dom.js';
import { liveRuns } from './client/state.js';

/** @typedef {import('./conversation.js').Conversation} Conversation */

/** a reconnect that takes less than this is nothing to talk about */
const QUIET_MS = 700;
const CALM = 'Answers go on at the server; what was missed comes when the line is back.';

export class LinkBanner {
    #title = h('strong', {});
    #words = h('span', { class: 'link-banner-words' });
    #retry;
    #panel;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #timer;
    #shown = '';
    /** @type {Conversation | null} */
    #conversation = null;

    /** @param {() => void} onRetry */
    constructor(onRetry) {
        this.#retry = h(
            'button',
            { class: 'tool small', type: 'button', onclick: onRetry },
            'Try now',
        );
        this.#panel = h(
            'div',
            { class: 'link-banner-panel', hidden: true },
            icon('signal'),
            h('p', {}, this.#title, ' ', this.#words),
            this.#retry,
        );
        // always in the page, so that what appears in it is read aloud
        this.element = h('div', { class: 'link-banner', role: 'status' }, this.#panel);
    }

    /** @param {Conversation} conversation */
    update(conversation) {
        this.#conversation = conversation;
        const { kind } = troubleOf(conversation);
        if (kind === this.#shown) return this.#draw();
        clearTimeout(this.#timer);
        this.#shown = kind;
        if (kind === 'away') {
            this.#timer = setTimeout(() => this.#draw(), QUIET_MS);
            return;
        }
        this.#draw();
    }

    #draw() {
        if (!this.#conversation) return;
        const { kind, title, words, retry } = troubleOf(this.#conversation);
        const waits =
            kind === 'away' &&
            performance.now() - (this.#conversation.outage?.from ?? 0) < QUIET_MS;
        this.#panel.hidden = !kind || waits;
        if (this.#panel.hidden) return;
        this.#panel.dataset.kind = kind;
        setText(this.#title, title);
        setText(this.#words, words);
        this.#retry.hidden = !retry;
    }
}

/**
 * @param {Conversation} conversation
 * @returns {{ kind: '' | 'away' | 'worker' | 'refused', title: string, words: string, retry: boolean }}
 */
function troubleOf(conversation) {
    const { link, notice, attempt, reason } = conversation;
    const more = attempt > 1 ? ` Attempt ${attempt}.` : '';
    switch (link) {
        case 'reconnecting':
            return {
                kind: 'away',
                title: reason === 'silent' ? 'The line is silent; reconnecting…' : 'Reconnecting…',
                words: `${notice} ${CALM}${more}`.trim(),
                retry: true,
            };
        case 'offline':
            return {
                kind: 'away',
                title: reason === 'offline' ? 'There is no network.' : 'The connection is lost.',
                words: `${notice} ${CALM}${more}`.trim(),
                retry: true,
            };
        case 'refused':
            return { kind: 'refused', title: 'No access.', words: notice, retry: false };
    }
    const silent = liveRuns(conversation.state).filter(({ stalled }) => stalled);
    if (!silent.length) return { kind: '', title: '', words: '', retry: false };
    return {
        kind: 'worker',
        title: 'The worker is silent.',
        words: 'The connection is fine, but nobody writes. Another worker takes the answer over soon.',
        retry: false,
    };
}
