// One panel: a conversation, from top to bottom, and the line that says what was counted.
// It draws what the Conversation holds, once per frame at most, and decides nothing.

import { h, icon, setText } from './dom.js';
import { formatMs, MessageView } from './message-view.js';
import { parseId } from './ledger.js';
import { timeline } from './thread-state.js';

/** @typedef {import('./conversation.js').Conversation} Conversation */

/** @type {Record<string, string>} */
const LINK_WORDS = {
    connecting: 'Connecting',
    live: 'Live',
    reconnecting: 'Reconnecting',
    offline: 'Offline',
    refused: 'No access',
    closed: 'Closed',
};

/** closer to the end than this, and the view stays there */
const NEAR_END_PX = 60;

export class ThreadView {
    /** @type {Conversation | null} */
    #conversation = null;
    /** @type {Map<string, MessageView>} */
    #views = new Map();
    #frame = 0;
    #follow = true;
    /** where it was scrolled to when we last looked */
    #top = 0;

    #earlier = h(
        'button',
        {
            class: 'quiet earlier',
            type: 'button',
            hidden: true,
            onclick: () => this.#loadEarlier(),
        },
        'Show earlier messages',
    );
    #list = h('div', {
        class: 'thread-list',
        role: 'log',
        'aria-live': 'off',
        'aria-label': 'Conversation',
    });
    #drafts = h('div', { class: 'thread-drafts' });
    #scroller = h(
        'div',
        {
            class: 'thread-scroll',
            tabindex: '0',
            role: 'region',
            'aria-label': 'Messages',
            onscroll: () => this.#onScroll(),
        },
        h('div', { class: 'thread-column' }, this.#earlier, this.#list, this.#drafts),
    );
    #jump = h(
        'button',
        { class: 'jump', type: 'button', hidden: true, onclick: () => this.toEnd() },
        icon('down'),
        'Latest',
    );
    #link = h('span', { class: 'link', 'data-state': 'connecting' }, 'Connecting');
    #counts = h('span', { class: 'counts' });
    #detail = h('span', { class: 'detail' });

    /** @param {{ heading?: HTMLElement, label: string, onDraw?: () => void }} options */
    constructor({ heading, label, onDraw }) {
        this.onDraw = onDraw;
        this.element = h(
            'section',
            { class: 'thread', 'aria-label': label },
            heading,
            h('div', { class: 'thread-main' }, this.#scroller, this.#jump),
            h('footer', { class: 'facts' }, this.#link, this.#counts, this.#detail),
        );
        new ResizeObserver(() => this.#follow && this.toEnd()).observe(this.#scroller);
    }

    /** @param {Conversation | null} conversation */
    show(conversation) {
        this.#conversation = conversation;
        this.#views.clear();
        this.#list.replaceChildren();
        this.#drafts.replaceChildren();
        this.#follow = true;
        this.invalidate();
    }

    /** Something changed: draw in the next frame. */
    invalidate() {
        this.#frame ||= requestAnimationFrame(() => {
            this.#frame = 0;
            this.#draw();
            this.onDraw?.();
        });
    }

    toEnd() {
        this.#follow = true;
        this.#scroller.scrollTop = this.#scroller.scrollHeight;
        this.#jump.hidden = true;
    }

    #draw() {
        const conversation = this.#conversation;
        this.element.classList.toggle('is-empty', !conversation);
        if (!conversation) return;
        this.#earlier.hidden = !conversation.earlier;
        this.#drawItems(conversation);
        this.#drawDrafts(conversation);
        this.#drawFacts(conversation);
        if (this.#follow) this.toEnd();
    }

    /** @param {Conversation} conversation */
    #drawItems(conversation) {
        const items = timeline(conversation.state);
        const keys = new Set(items.map((item) => item.key));
        for (const [key, view] of this.#views) {
            if (keys.has(key)) continue;
            view.element.remove();
            this.#views.delete(key);
        }
        items.forEach((item, index) => {
            const view = this.#views.get(item.key) ?? new MessageView(item);
            this.#views.set(item.key, view);
            const runId = item.run?.runId ?? '';
            view.update(item, {
                firstTokenMs: conversation.delays(runId).tokenMs,
                verified: conversation.verified.get(runId),
                stopping: conversation.stopping.has(runId),
            });
            const there = this.#list.children[index] ?? null;
            if (there !== view.element) this.#list.insertBefore(view.element, there);
        });
    }

    /** @param {Conversation} conversation */
    #drawDrafts(conversation) {
        this.#drafts.replaceChildren(
            ...conversation.drafts.map((draft) =>
                h(
                    'article',
                    { class: 'message from-user is-draft' },
                    h('div', { class: 'message-text', dir: 'auto' }, draft.text),
                    draft.error
                        ? h(
                              'p',
                              { class: 'message-error' },
                              `Not sent: ${draft.error} `,
                              h(
                                  'button',
                                  {
                                      class: 'quiet',
                                      type: 'button',
                                      onclick: () => conversation.resend(draft),
                                  },
                                  'Try again',
                              ),
                          )
                        : h('p', { class: 'message-facts' }, 'Sending…'),
                ),
            ),
        );
    }

    /** @param {Conversation} conversation */
    #drawFacts(conversation) {
        const { ledger } = conversation;
        this.#link.dataset.state = conversation.link;
        setText(this.#link, LINK_WORDS[conversation.link]);
        setText(
            this.#counts,
            [
                `${ledger.events} events`,
                `lost ${ledger.lost}`,
                `duplicated ${ledger.duplicated}`,
                `reconnects ${conversation.reconnects}`,
                ledger.resets > 0 && `resets ${ledger.resets}`,
            ]
                .filter(Boolean)
                .join(' · '),
        );
        this.#counts.classList.toggle('is-bad', ledger.lost + ledger.duplicated > 0);
        this.#counts.title =
            `position ${ledger.position || 'none'}` +
            `\nlost: holes in the numbers, and answers that differ from the record` +
            `\nduplicated: the same number twice`;
        setText(this.#detail, detailOf(conversation));
        this.#detail.title = this.#detail.textContent ?? '';
    }

    #onScroll() {
        const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
        // Only somebody who scrolls *up* wants to stay there; a panel that changes its size
        // scrolls as well.
        if (scrollHeight - clientHeight - scrollTop < NEAR_END_PX) this.#follow = true;
        else if (scrollTop < this.#top) this.#follow = false;
        this.#top = scrollTop;
        this.#jump.hidden = this.#follow;
    }

    async #loadEarlier() {
        const bottom = this.#scroller.scrollHeight - this.#scroller.scrollTop;
        this.#follow = false;
        await this.#conversation?.loadEarlier().catch(() => {
            /* the button stays */
        });
        requestAnimationFrame(() => {
            this.#scroller.scrollTop = this.#scroller.scrollHeight - bottom;
        });
    }
}

/** The most interesting thing to say right now. @param {Conversation} conversation */
function detailOf(conversation) {
    const { outage, notice } = conversation;
    if (outage && outage.ms === null) return `${notice} cut at ${shortId(outage.after)}`.trim();
    const latest = [...conversation.state.runs.keys()].at(-1) ?? '';
    const { eventMs, tokenMs } = conversation.delays(latest);
    return [
        notice,
        outage?.ms != null &&
            outage.resumed &&
            `cut at ${shortId(outage.after)}, back at ${shortId(outage.resumed)} in ${formatMs(outage.ms)}`,
        eventMs !== null && `first event ${formatMs(eventMs)}`,
        tokenMs !== null && `first token ${formatMs(tokenMs)}`,
    ]
        .filter(Boolean)
        .join(' · ');
}

/** Only the number: the epoch is the same all the time. @param {string} id */
function shortId(id) {
    const position = parseId(id);
    return position ? `#${position.n}` : 'the beginning';
}
