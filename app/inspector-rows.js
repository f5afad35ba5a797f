// One row of the inspector's lists, and how an event stood on the wire.

import { h } from './dom.js';
import { formatMs } from './words.js';

/**
 * @typedef {import('./trace.js').Entry} Entry
 * @typedef {import('./wire-tap.js').Line} Line
 */

/** above this, a gap or a latency is worth a look */
const SLOW_MS = 1_000;
const PREVIEW = 120;

/** @param {Entry} entry @param {HTMLElement} node */
export function drawEntry(entry, node) {
    const { kind, type, mark, at, id, latencyMs, gapMs } = entry;
    node.classList.add(`is-${kind}`);
    if (mark) node.classList.add(`is-${mark}`);
    node.replaceChildren(
        h('span', { class: 'at' }, clock(at)),
        h('span', { class: 'n' }, numberOf(id)),
        h('span', { class: 'type', 'data-type': type }, type),
        h(
            'span',
            {
                class: latencyMs !== null && latencyMs > SLOW_MS ? 'ms is-slow' : 'ms',
                title: 'latency',
            },
            mark === 'replayed' || latencyMs === null ? '' : formatMs(latencyMs),
        ),
        h(
            'span',
            {
                class: gapMs !== null && gapMs > SLOW_MS ? 'ms is-slow' : 'ms',
                title: 'since the event before',
            },
            gapMs === null ? '' : `+${formatMs(gapMs)}`,
        ),
        h(
            'span',
            { class: 'preview' },
            mark && mark !== 'bad' ? h('b', {}, `${mark} `) : null,
            previewOf(entry),
        ),
    );
}

/** @param {Line} line @param {HTMLElement} node */
export function drawLine({ at, gapMs, text, ours }, node) {
    if (ours) node.classList.add('is-link');
    else if (text.startsWith(':')) node.classList.add('is-notice');
    node.replaceChildren(
        h('span', { class: 'at' }, clock(at)),
        h('span', { class: gapMs > SLOW_MS ? 'ms is-slow' : 'ms' }, `+${formatMs(gapMs)}`),
        h('span', { class: 'preview', title: text.slice(0, 2000) }, text === '' ? '⏎' : text),
    );
}

/**
 * The lines of an event as they stood on the stream. Made again from what was parsed: the
 * fields and their order are the server's, but numbers and escapes are written as this
 * browser writes them. The wire tab shows the very bytes.
 * @param {Entry} entry
 */
export function wireOf({ kind, type, id, data }) {
    if (kind === 'link') return '';
    const name = kind === 'notice' ? `event: ${type}\n` : '';
    return `${name}data: ${JSON.stringify(data)}\n${id ? `id: ${id}\n` : ''}`;
}

/** Without the hour: what is looked at has just happened. @param {number} at Unix milliseconds */
function clock(at) {
    const date = new Date(at);
    const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
    return `${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** Only the number: the epoch is the same all the time. @param {string} id */
function numberOf(id) {
    const dash = id.lastIndexOf('-');
    return dash < 0 ? '' : `#${id.slice(dash + 1)}`;
}

/** @param {Entry} entry */
function previewOf({ kind, type, agent, data }) {
    if (kind === 'link')
        return `${data.message || ''}${data.retryInMs === undefined ? '' : ` Again in ${formatMs(data.retryInMs)}.`}`;
    const content = kind === 'event' ? data.content : data;
    const text = typeof content === 'string' ? JSON.stringify(content) : words(content);
    return `${agent && type !== 'token' ? `${agent} ` : ''}${text}`.slice(0, PREVIEW);
}

/** @param {any} content */
function words(content) {
    if (content?.kind) {
        const { kind, ...rest } = content;
        return `${kind} ${JSON.stringify(rest)}`;
    }
    return JSON.stringify(content) ?? '';
}
