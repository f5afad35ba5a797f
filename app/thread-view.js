// One panel: a conversation, from top to bottom, and the line that says what was counted.
// It draws what the Conversation holds, once per frame at most, and decides nothing.
//
// A long conversation stays smooth because a frame touches only what has changed: rows are
// laid out anew when messages come or go, otherwise the views of live answers are updated
// and nothing else; what is far out of sight is not made at all (row-list.js).

import { timeline } from './client/state.js';
import { h, icon, setText } from './dom.js';
import { parseId } from './ledger.js';
import { LinkBanner } from './link-banner.js';
import { MessageView } from './message-view.js';
import { RowList } from './row-list.js';
import { rowsOf } from './rows.js';
import { formatMs } from './words.js';

/**
 * @typedef {import('./conversation.js').Conversation} Conversation
 * @typedef {import('./client/state.js').Item} Item
 * @typedef {import('./client/state.js').ThreadState} ThreadState
 * @typedef {import('./rows.js').Place} Place
 * @typedef {import('./rows.js').Row} Row
 */

/** @type {Record<string, string>} */
const LINK_WORDS = {
    connecting: 'Connecting',
    live: 'Live',
    reconnecting: 'Reconnecting',
    offline: 'Offline',
    refused: 'No access',
    ended: 'Ended',
};

/** closer to the end than this, and the view stays there */
const NEAR_END_PX = 60;

export class ThreadView {
    /** @type {Conversation | null} */
    #conversation = null;
    /** @type {Map<string, MessageView>} */
    #views = new Map();
    /** @type {Row[]} */
    #rows = [];
    /** @type {ThreadState | null} what the rows were made of */
    #laidOut = null;
    /** @type {Map<string, string>} the version that somebody has chosen, by place */
    #chosen = new Map();
    #frame = 0;
    #follow = true;
    /** where it was scrolled to when we last looked */
    #top = 0;
    #loading = false;

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
    #column = h('div', { class: 'thread-column' });
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
        this.#column,
    );
    #list = new RowList({
        scroller: this.#scroller,
        fill: (row, node) => this.#fillRow(node, row),
        isBusy: ({ places }) =>
            places.some(({ versions }) => versions.some(({ run }) => run && !run.outcome)),
    });
    #jump = h(
        'button',
        { class: 'jump', type: 'button', hidden: true, onclick: () => this.toEnd() },
        icon('down'),
        'To the end',
    );
    #banner = new LinkBanner(() => this.#conversation?.retryNow());
    #link = h('span', { class: 'link' });
    #counts = h('span', { class: 'counts' });
    #detail = h('span', { class: 'detail' });

    /**
     * @param {object} options
     * @param {HTMLElement} options.heading
     * @param {string} options.label
     * @param {() => void} [options.onDraw]
     */
    constructor({ heading, label, onDraw }) {
        this.onDraw = onDraw;
        this.#column.append(this.#earlier, this.#list.element, this.#drafts);
        this.element = h(
            'section',
            { class: 'thread', 'aria-label': label },
            heading,
            h('div', { class: 'thread-main' }, this.#banner.element, this.#scroller, this.#jump),
            h('footer', { class: 'facts' }, this.#link, this.#counts, this.#detail),
        );
        // the panel changes its size, or what is in it does
        const resized = new ResizeObserver(() => this.#follow && this.toEnd());
        resized.observe(this.#scroller);
        resized.observe(this.#column);
    }

    /** @param {Conversation | null} conversation */
    show(conversation) {
        this.#conversation = conversation;
        this.#views.clear();
        this.#chosen.clear();
        this.#rows = [];
        this.#laidOut = null;
        this.#list.clear();
        this.#drafts.replaceChildren();
        this.#setFollow(true);
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
        this.#setFollow(true);
        this.#scroller.scrollTop = this.#scroller.scrollHeight;
    }

    /** @param {boolean} follow stay at the end, whatever comes */
    #setFollow(follow) {
        this.#follow = follow;
        this.#jump.hidden = follow;
        // the browser's own way of staying where one is would look like somebody scrolling up
        this.#scroller.classList.toggle('is-following', follow);
    }

    /** To the message before or behind the one at the top. @param {number} by */
    step(by) {
        const nodes = [...this.#list.element.querySelectorAll('.message')];
        const top = this.#scroller.getBoundingClientRect().top + 24;
        const at = nodes.findIndex((node) => node.getBoundingClientRect().bottom > top);
        const node = nodes[Math.min(nodes.length - 1, Math.max(0, at + by))];
        if (!(node instanceof HTMLElement)) return;
        this.#setFollow(false);
        node.tabIndex = -1;
        node.scrollIntoView({ block: 'start' });
        node.focus({ preventScroll: true });
    }

    /** The button of that name in the last answer. @param {'copy' | 'retry'} name */
    pressLast(name) {
        const buttons = this.#list.element.querySelectorAll(
            `.from-assistant .action-${name}:not([hidden])`,
        );
        const last = [...buttons].at(-1);
        if (last instanceof HTMLButtonElement) last.click();
    }

    #draw() {
        const conversation = this.#conversation;
        this.element.classList.toggle('is-empty', !conversation);
        if (!conversation) return;
        this.#earlier.hidden = !conversation.earlier;
        this.#drawItems(conversation);
        this.#drawDrafts(conversation);
        this.#drawFacts(conversation);
        this.#banner.update(conversation);
        if (this.#follow) this.toEnd();
    }

    // ---- messages ----------------------------------------------------------------------

    /** @param {Conversation} conversation */
    #drawItems(conversation) {
        const { state } = conversation;
        if (!this.#laidOut || !sameLayout(this.#laidOut, state)) this.#layOut(state);
        this.#laidOut = state;
        for (const row of this.#rows) {
            for (const place of row.places) {
                if (place.versions.some(({ run }) => run)) this.#updatePlace(conversation, place);
            }
        }
    }

    /** @param {ThreadState} state */
    #layOut(state) {
        this.#rows = rowsOf(timeline(state));
        this.#list.set(this.#rows);
        // views whose message is gone, or far away
        const near = this.#list.ready.flatMap(({ item, places }) =>
            item ? [item] : places.flatMap(({ versions }) => versions),
        );
        const keys = new Set(near.map(({ key }) => key));
        for (const key of this.#views.keys()) if (!keys.has(key)) this.#views.delete(key);
    }

    /** @param {HTMLElement} node @param {Row} row */
    #fillRow(node, row) {
        const views = row.item
            ? [this.#viewOf(row.item)]
            : row.places.map((place) => this.#viewOf(this.#chosenOf(place).item, place));
        if (row.item) views[0].update(row.item, NO_FACTS);
        else if (this.#conversation)
            for (const place of row.places) this.#updatePlace(this.#conversation, place);
        const nodes = views.map(({ element }) => element);
        if (
            nodes.length === node.children.length &&
            nodes.every((child, i) => child === node.children[i])
        )
            return;
        const answers = String(row.places.length);
        node.className = row.places.length > 1 ? 'row is-many' : 'row';
        node.dataset.answers = answers;
        for (const child of [...node.children])
            if (!nodes.includes(/** @type {any} */ (child))) child.remove();
        nodes.forEach((child, i) => {
            if (node.children[i] !== child) node.insertBefore(child, node.children[i] ?? null);
        });
    }

    /** @param {Item} item @param {Place} [place] */
    #viewOf(item, place) {
        let view = this.#views.get(item.key);
        if (!view) {
            view = new MessageView(item, {
                onStop: (runId) => this.#conversation?.stop([runId]),
                onRetry: async (runId) => {
                    if (place) this.#chosen.delete(place.key);
                    await this.#conversation?.retry(runId);
                },
                onVersion: (by) => this.#showVersion(item.key, by),
            });
            this.#views.set(item.key, view);
        }
        return view;
    }

    /** Which of its versions a place shows: the newest, unless somebody chose. @param {Place} place */
    #chosenOf({ key, versions }) {
        const chosen = versions.findIndex((item) => item.key === this.#chosen.get(key));
        const at = chosen < 0 ? versions.length - 1 : chosen;
        return { item: versions[at], at };
    }

    /** @param {string} itemKey @param {number} by */
    #showVersion(itemKey, by) {
        for (const { places } of this.#rows) {
            for (const { key, versions } of places) {
                const at = versions.findIndex((item) => item.key === itemKey);
                const wanted = versions[at + by];
                if (at < 0 || !wanted) continue;
                this.#chosen.set(key, wanted.key);
                this.#laidOut = null;
                this.invalidate();
            }
        }
    }

    /** @param {Conversation} conversation @param {Place} place */
    #updatePlace(conversation, place) {
        const { item, at } = this.#chosenOf(place);
        const run = item.run ? (conversation.state.runs.get(item.run.runId) ?? item.run) : null;
        const now = run === item.run ? item : itemNow(item, run);
        place.versions[at] = now;
        const facts = run ? conversation.factsOf(run) : NO_FACTS;
        this.#views.get(item.key)?.update(now, facts, at, place.versions.length);
    }

    /** @param {Conversation} conversation */
    #drawDrafts(conversation) {
        if (!conversation.drafts.length && !this.#drafts.firstChild) return;
        this.#drafts.replaceChildren(
            ...conversation.drafts.map((draft) =>
                draftNode(draft, () => conversation.resend(draft)),
            ),
        );
    }

    // ---- what was counted --------------------------------------------------------------

    /** @param {Conversation} conversation */
    #drawFacts(conversation) {
        const { ledger, duplicated } = conversation;
        this.#link.dataset.state = conversation.link;
        setText(this.#link, LINK_WORDS[conversation.link]);
        setText(
            this.#counts,
            [
                `${ledger.events} events`,
                `lost ${ledger.lost}`,
                `duplicated ${duplicated}`,
                `reconnects ${conversation.reconnects}`,
                ledger.resets > 0 && `resets ${ledger.resets}`,
            ]
                .filter(Boolean)
                .join(' · '),
        );
        this.#counts.classList.toggle('is-bad', ledger.lost + duplicated > 0);
        this.#counts.title =
            `position ${ledger.position || 'none'}` +
            `\nlost: holes in the numbers, and answers that differ from the record` +
            `\nduplicated: the same number twice`;
        setText(this.#detail, detailOf(conversation));
        this.#detail.title = this.#detail.textContent ?? '';
    }

    // ---- scrolling ---------------------------------------------------------------------

    #onScroll() {
        const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
        // Only somebody who scrolls *up* wants to stay there; a panel that changes its size
        // scrolls as well.
        if (scrollHeight - clientHeight - scrollTop < NEAR_END_PX) this.#setFollow(true);
        else if (scrollTop < this.#top) this.#setFollow(false);
        this.#top = scrollTop;
        if (!this.#follow && scrollTop < clientHeight / 2) this.#loadEarlier();
    }

    async #loadEarlier() {
        if (this.#loading || !this.#conversation?.earlier) return;
        this.#loading = true;
        const bottom = this.#scroller.scrollHeight - this.#scroller.scrollTop;
        this.#setFollow(false);
        await this.#conversation.loadEarlier().catch(() => {
            /* the button stays */
        });
        requestAnimationFrame(() => {
            this.#scroller.scrollTop = this.#scroller.scrollHeight - bottom;
            this.#loading = false;
        });
    }
}

/** @type {import('./message-view.js').Facts} */
const NO_FACTS = { firstTokenMs: null, tokensPerS: null, verified: undefined, stopping: false };

/**
 * May the rows stay as they are? They may while runs only write, and nothing comes, goes or
 * finds out where it belongs.
 * @param {ThreadState} before
 * @param {ThreadState} now
 */
function sameLayout(before, now) {
    if (before === now) return true;
    if (before.messages !== now.messages || before.notes !== now.notes) return false;
    if (before.runs === now.runs) return true;
    if (before.runs.size !== now.runs.size) return false;
    for (const [runId, run] of now.runs) {
        const old = before.runs.get(runId);
        if (old === run) continue;
        if (
            !old ||
            old.messageId !== run.messageId ||
            old.parentId !== run.parentId ||
            old.agent !== run.agent
        )
            return false;
    }
    return true;
}

/**
 * The same item, after its run went on.
 * @param {Item} item
 * @param {import('./client/state.js').Run | null} run
 * @returns {Item}
 */
function itemNow(item, run) {
    return {
        ...item,
        run,
        text: item.message ? item.message.text : (run?.text ?? ''),
        outcome: run?.outcome ?? item.outcome,
    };
}

/** @param {import('./conversation.js').Draft} draft @param {() => void} onAgain */
function draftNode(draft, onAgain) {
    return h(
        'article',
        { class: 'message from-user is-draft' },
        h('div', { class: 'message-text verbatim', dir: 'auto' }, draft.text),
        draft.error
            ? h(
                  'p',
                  { class: 'message-error' },
                  `Not sent: ${draft.error} `,
                  h('button', { class: 'quiet', type: 'button', onclick: onAgain }, 'Try again'),
              )
            : h('p', { class: 'message-facts' }, 'Sending…'),
    );
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
