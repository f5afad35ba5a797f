// One prompt, answer or note. Made once, updated as its item changes.

import { copyFrom } from './copy.js';
import { h, icon, setText } from './dom.js';
import { MarkdownView } from './markdown.js';
import { StepsView } from './steps-view.js';
import { endOf, formatMs, statusOf } from './words.js';

/**
 * @typedef {import('./client/state.js').Item} Item
 * @typedef {import('./client/state.js').Run} Run
 *
 * @typedef {object} Facts what the conversation knows about an answer besides its text
 * @property {number | null} firstTokenMs from sending the prompt to its first token here
 * @property {number | null} tokensPerS
 * @property {boolean | undefined} verified equal to the record?
 * @property {boolean} stopping
 *
 * @typedef {object} Actions what its buttons do
 * @property {(runId: string) => void} onStop
 * @property {(runId: string) => Promise<void>} onRetry
 * @property {(by: number) => void} onVersion shows the answer before or behind this one
 */

/** @type {WeakMap<Element, MessageView>} */
const views = new WeakMap();

/** The text, as it was written, that an element of the page shows. @param {Element} element */
export function textOf(element) {
    return views.get(element)?.text ?? '';
}

export class MessageView {
    #label = h('h2', { class: 'message-label' });
    #avatar = h('span', { class: 'avatar', 'aria-hidden': 'true' });
    #status = h('span', { class: 'message-status' });
    #steps = new StepsView();
    #body = h('div', { class: 'message-text' });
    #markdown = new MarkdownView(this.#body);
    #error = h('p', { class: 'message-error', hidden: true });
    #facts = h('p', { class: 'message-facts' });
    #version = h('span', { class: 'version-at' });
    #actions;
    /** @type {Item} */
    #item;
    /** what was drawn last, to see at a glance that nothing has changed */
    #drawn = '';
    /** @type {unknown[]} */
    #seen = [];

    #copy = this.#button('copy', 'Copy', 'Copy this message', (event) =>
        copyFrom(event.currentTarget, this.text),
    );
    #retry = this.#button('retry', 'Retry', 'Retry: ask for another answer', () =>
        this.#askAgain(),
    );
    #stop = this.#button('stop', 'Stop', 'Stop this answer', () =>
        this.#actions.onStop(this.#item.run?.runId ?? ''),
    );
    #versions = h(
        'span',
        { class: 'versions', role: 'group', 'aria-label': 'Answers to this prompt', hidden: true },
        this.#arrow('before', 'The answer before', -1),
        this.#version,
        this.#arrow('chevron', 'The next answer', 1),
    );

    /** @param {Item} item @param {Actions} actions */
    constructor(item, actions) {
        this.#item = item;
        this.#actions = actions;
        this.element = h('article', { class: `message from-${item.role}`, 'data-key': item.key });
        views.set(this.element, this);
        if (item.role === 'assistant') this.#makeAnswer();
        else this.#makeText(item);
    }

    get text() {
        return this.#item.text;
    }

    #makeAnswer() {
        this.#body.addEventListener('click', onCodeCopy);
        this.element.append(
            h(
                'header',
                { class: 'message-head' },
                this.#avatar,
                this.#label,
                this.#status,
                this.#versions,
            ),
            this.#steps.element,
            this.#body,
            this.#error,
            h(
                'footer',
                { class: 'message-foot' },
                h('div', { class: 'message-actions' }, this.#copy, this.#retry, this.#stop),
                this.#facts,
            ),
        );
    }

    /** @param {Item} item */
    #makeText(item) {
        this.#body.setAttribute('dir', 'auto');
        const who = h('h2', { class: 'unseen' }, item.role === 'user' ? 'You' : item.label);
        this.element.append(who);
        if (item.role === 'note')
            this.element.append(h('span', { class: 'note-type' }, item.label));
        this.element.append(this.#body);
        if (item.role !== 'user') return;
        this.#body.classList.add('verbatim');
        this.element.append(h('div', { class: 'message-actions' }, this.#copy));
    }

    /**
     * @param {Item} item
     * @param {Facts} facts
     * @param {number} at which of how many versions
     * @param {number} of
     */
    update(item, facts, at = 0, of = 1) {
        this.#item = item;
        if (item.role !== 'assistant') return setText(this.#body, item.text);
        const { firstTokenMs, tokensPerS, verified, stopping } = facts;
        const seen = [item.run, item.message, firstTokenMs, tokensPerS, verified, stopping, at, of];
        if (seen.every((value, index) => value === this.#seen[index])) return;
        this.#seen = seen;
        this.#drawHead(item, stopping);
        this.#drawVersions(at, of);
        this.#drawBody(item);
        setText(this.#facts, factsOf(item.run, facts));
    }

    /** @param {Item} item @param {boolean} stopping */
    #drawHead(item, stopping) {
        const { run } = item;
        const live = isLive(run);
        const name = item.label || 'Assistant';
        this.element.classList.toggle('is-live', live);
        this.element.classList.toggle('is-waiting', live && !item.text);
        this.element.setAttribute('aria-busy', String(live));
        setText(this.#label, name);
        if (this.#drawn !== name) {
            this.#avatar.dataset.hue = String(hueOf(name));
            setText(this.#avatar, (Array.from(name)[0] ?? '').toUpperCase());
            this.#drawn = name;
        }
        setText(this.#status, run && live ? statusOf(run, stopping) : endOf(item));
        this.#status.dataset.outcome = item.outcome?.kind ?? '';
        this.#stop.hidden = !live;
        this.#stop.disabled = stopping;
        this.#retry.hidden = live || !(run ?? item.message)?.runId || run?.status === 'outside';
        this.#copy.hidden = !item.text;
    }

    /** @param {Item} item */
    #drawBody(item) {
        const { run } = item;
        const live = isLive(run);
        this.#steps.update(run?.steps ?? [], live && run?.status !== 'typing');
        this.#markdown.set(item.text, !live);
        const error =
            item.outcome?.kind === 'error' ? item.outcome.message || 'The run failed.' : '';
        this.#error.hidden = !error;
        setText(this.#error, error);
    }

    /** @param {number} at @param {number} of */
    #drawVersions(at, of) {
        this.#versions.hidden = of < 2;
        if (of < 2) return;
        setText(this.#version, `${at + 1} / ${of}`);
        const [before, next] = this.#versions.querySelectorAll('button');
        before.disabled = at === 0;
        next.disabled = at === of - 1;
    }

    async #askAgain() {
        const runId = this.#item.run?.runId ?? this.#item.message?.runId;
        if (!runId) return;
        this.#retry.disabled = true;
        await this.#actions.onRetry(runId);
        this.#retry.disabled = false;
    }

    /** @param {string} name @param {string} words @param {string} label @param {(event: any) => void} onclick */
    #button(name, words, label, onclick) {
        return h(
            'button',
            {
                class: `action action-${name}`,
                type: 'button',
                'aria-label': label,
                title: label,
                onclick,
            },
            icon(name),
            h('span', {}, words),
        );
    }

    /** @param {string} name @param {string} label @param {number} by */
    #arrow(name, label, by) {
        return h(
            'button',
            {
                class: 'version-step',
                type: 'button',
                'aria-label': label,
                onclick: () => this.#actions.onVersion(by),
            },
            icon(name),
        );
    }
}

/** @param {Run | null} run */
function isLive(run) {
    return Boolean(run && !run.outcome && run.status !== 'outside');
}

/** @type {Map<string, number>} colours of names, in the order in which they came up */
const hues = new Map();
const HUES = 6;

/** A colour for a name, the same one as long as the page is open. @param {string} name */
function hueOf(name) {
    const hue = hues.get(name) ?? hues.size % HUES;
    hues.set(name, hue);
    return hue;
}

/** Copies the block of code that the clicked button belongs to. @param {MouseEvent} event */
function onCodeCopy(event) {
    const { target } = event;
    const button = target instanceof Element ? target.closest('[data-copy="code"]') : null;
    const code = button?.closest('.code')?.querySelector('code');
    if (button instanceof HTMLElement && code) copyFrom(button, code.textContent ?? '');
}

/** @param {Run | null} run @param {Facts} facts */
function factsOf(run, { firstTokenMs, tokensPerS, verified }) {
    if (!run) return '';
    const seconds = (run.endedAt - run.startedAt) / 1000;
    return [
        firstTokenMs !== null && `first token ${formatMs(firstTokenMs)}`,
        tokensPerS !== null && `${tokensPerS} tokens/s`,
        run.outcome && run.tokens > 1 && `${run.tokens} tokens in ${seconds.toFixed(1)} s`,
        run.usage?.totalTokens != null && `usage ${run.usage.totalTokens}`,
        run.rewinds > 0 && `started over ${run.rewinds}×`,
        verified === true && '✓ equals the record',
        verified === false && '✗ differs from the record',
    ]
        .filter(Boolean)
        .join(' · ');
}
