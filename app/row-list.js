// The rows of a conversation as elements, however many there are. They stand in chunks; a
// chunk that is far out of sight holds the bare text of its rows (so that the browser's own
// search finds it) and is not rendered (thread.css, content-visibility); one that comes near
// is made ready. By chunks, because a browser that watches thousands of elements does
// nothing else.

import { h } from './dom.js';

/** rows of a chunk */
const CHUNK = 24;
/** so far beyond what is in sight, chunks are made ready */
const READY_PX = 1200;
/** so many of the last chunks always are */
const CHUNKS_READY = 2;

/**
 * @typedef {import('./rows.js').Row} Row
 *
 * @typedef {object} Chunk
 * @property {HTMLElement} node
 * @property {Row[]} rows in order
 * @property {boolean} ready
 *
 * @typedef {object} Place where a row stands
 * @property {HTMLElement} node
 * @property {Chunk} chunk
 */

export class RowList {
    element = h('div', { class: 'thread-list' });
    /** @type {Chunk[]} top to bottom */
    #chunks = [];
    /** @type {Map<string, Place>} by the row's key */
    #places = new Map();
    #sight;
    #fill;
    #isBusy;

    /**
     * @param {object} options
     * @param {HTMLElement} options.scroller
     * @param {(row: Row, node: HTMLElement) => void} options.fill gives a row all that belongs to it
     * @param {(row: Row) => boolean} options.isBusy something happens in it: it stays ready
     */
    constructor({ scroller, fill, isBusy }) {
        this.#fill = fill;
        this.#isBusy = isBusy;
        this.#sight = new IntersectionObserver((entries) => this.#onSight(entries), {
            root: scroller,
            rootMargin: `${READY_PX}px 0px`,
        });
    }

    clear() {
        this.#sight.disconnect();
        this.#chunks = [];
        this.#places.clear();
        this.element.replaceChildren();
    }

    /** The rows that are more than their bare text. */
    get ready() {
        return this.#chunks.filter(({ ready }) => ready).flatMap(({ rows }) => rows);
    }

    /** All rows, top to bottom. @param {readonly Row[]} rows */
    set(rows) {
        this.#forget(new Set(rows.map(({ key }) => key)));
        for (const chunk of this.#chunks) chunk.rows = [];
        let at = -1;
        const next = this.#chunksBehind(rows);
        rows.forEach((row, index) => {
            at = this.#assign(row, at, next[index]);
            this.#chunks[at].rows.push(row);
        });
        this.#chunks
            .filter(({ rows: inIt }) => !inIt.length)
            .forEach(({ node }) => {
                this.#sight.unobserve(node);
                node.remove();
            });
        this.#chunks = this.#chunks.filter(({ rows: inIt }) => inIt.length);
        this.#chunks.slice(-CHUNKS_READY).forEach((chunk) => this.#setReady(chunk, true));
        for (const chunk of this.#chunks) this.#arrange(chunk);
    }

    /** @param {Set<string>} keys of the rows there still are */
    #forget(keys) {
        for (const [key, { node }] of this.#places) {
            if (keys.has(key)) continue;
            node.remove();
            this.#places.delete(key);
        }
    }

    /** For each row: the chunk of the first known row behind it. @param {readonly Row[]} rows */
    #chunksBehind(rows) {
        /** @type {(Chunk | undefined)[]} */
        const behind = Array(rows.length);
        let chunk;
        for (let i = rows.length - 1; i >= 0; i--) {
            behind[i] = chunk;
            chunk = this.#places.get(rows[i].key)?.chunk ?? chunk;
        }
        return behind;
    }

    /**
     * Which chunk a row belongs to: its own as long as the order allows it; a new row goes to
     * the one before it, or begins one.
     * @param {Row} row
     * @param {number} before the chunk of the row before it; -1: none
     * @param {Chunk | undefined} behind
     * @returns {number}
     */
    #assign(row, before, behind) {
        const place = this.#places.get(row.key);
        const own = place ? this.#chunks.indexOf(place.chunk, Math.max(0, before)) : -1;
        if (own >= 0) return own;
        const chunk = this.#chunks[before];
        const fits = chunk && (chunk.rows.length < CHUNK || chunk === behind);
        const at = fits ? before : before + 1;
        if (!fits) this.#begin(at);
        const node = place?.node ?? h('div', { class: 'row' });
        this.#places.set(row.key, { node, chunk: this.#chunks[at] });
        return at;
    }

    /** @param {number} at */
    #begin(at) {
        const node = h('div', { class: 'chunk' });
        this.element.insertBefore(node, this.#chunks[at]?.node ?? null);
        this.#chunks.splice(at, 0, { node, rows: [], ready: false });
        this.#sight.observe(node);
    }

    /** The rows of a chunk stand in it, in order, as they should. @param {Chunk} chunk */
    #arrange({ node: parent, rows, ready }) {
        let next = parent.firstElementChild;
        for (const row of rows) {
            const { node } = /** @type {Place} */ (this.#places.get(row.key));
            if (node === next) next = next.nextElementSibling;
            else parent.insertBefore(node, next);
            if (ready) this.#fill(row, node);
            else if (!node.firstChild) node.append(bare(row));
        }
    }

    /** @param {Chunk} chunk @param {boolean} ready */
    #setReady(chunk, ready) {
        if (chunk.ready === ready) return;
        chunk.ready = ready;
        for (const row of chunk.rows) {
            const node = this.#places.get(row.key)?.node;
            if (node && !ready) {
                node.className = 'row';
                node.replaceChildren(bare(row));
            } else if (node) this.#fill(row, node);
        }
    }

    /** Chunks come near, or go away. @param {IntersectionObserverEntry[]} entries */
    #onSight(entries) {
        for (const { target, isIntersecting, boundingClientRect } of entries) {
            const chunk = this.#chunks.find(({ node }) => node === target);
            if (!chunk || boundingClientRect.height === 0) continue; // all of the page is hidden
            if (isIntersecting) this.#setReady(chunk, true);
            else if (this.#mayGo(chunk)) this.#setReady(chunk, false);
        }
    }

    /** Is there nothing in it that somebody would miss? @param {Chunk} chunk */
    #mayGo(chunk) {
        return (
            !this.#chunks.slice(-CHUNKS_READY).includes(chunk) &&
            !chunk.rows.some(this.#isBusy) &&
            !chunk.node.querySelector('details[open]') &&
            !chunk.node.contains(document.activeElement)
        );
    }
}

/** What stands for a row that is far away. @param {Row} row */
function bare({ item, places }) {
    const items = item ? [item] : places.flatMap(({ versions }) => versions.slice(-1));
    return h('div', { class: 'verbatim' }, items.map(({ text }) => text).join('\n\n'));
}
