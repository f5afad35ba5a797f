// A list of any length of which only the rows in sight are elements: 100,000 entries cost
// what thirty do. All rows are equally high. It follows its end until somebody scrolls up.

import { h } from './dom.js';

const ROW_PX = 26;
const AROUND = 6;

/**
 * @template T
 * @typedef {object} ListOptions
 * @property {string} label
 * @property {(item: T, node: HTMLElement) => void} draw fills a row that may have shown another item
 * @property {(item: T) => string} keyOf
 * @property {(item: T | null) => void} [onSelect]
 */

/** @template T */
export class VirtualList {
    /** @type {readonly T[]} */
    #items = [];
    /** @type {Map<string, HTMLElement>} what is in sight, by key */
    #nodes = new Map();
    #options;
    #frame = 0;
    #follow = true;
    /** where it was scrolled to when it was drawn last */
    #top = 0;
    #selected = '';
    #space = h('div', { class: 'list-space', role: 'presentation' });

    /** @param {ListOptions<T>} options */
    constructor(options) {
        this.#options = options;
        this.element = h(
            'div',
            {
                class: 'list',
                role: 'listbox',
                tabindex: '0',
                'aria-label': options.label,
                onscroll: () => this.#onScroll(),
                onclick: (event) => this.#onClick(event),
                onkeydown: (event) => this.#onKey(event),
            },
            this.#space,
        );
        // a panel that opens below must not cover what was selected
        new ResizeObserver(() => {
            const at = this.#selected ? this.#at() : -1;
            if (at >= 0) this.#reveal(at);
            this.#later();
        }).observe(this.element);
    }

    /** @param {readonly T[]} items */
    set(items) {
        this.#items = items;
        this.#later();
    }

    get selected() {
        return this.#selected;
    }

    /** Nothing is selected any more. */
    unselect() {
        this.#select(-1);
    }

    #later() {
        this.#frame ||= requestAnimationFrame(() => {
            this.#frame = 0;
            this.#draw();
        });
    }

    #draw() {
        const height = this.#items.length * ROW_PX;
        if (this.element.scrollTop < this.#top - 1 && !this.#atEnd()) this.#follow = false;
        this.#space.style.height = `${height}px`;
        if (this.#follow) this.element.scrollTop = height;
        const { scrollTop, clientHeight } = this.element;
        this.#top = scrollTop;
        const from = Math.max(0, Math.floor(scrollTop / ROW_PX) - AROUND);
        const to = Math.min(
            this.#items.length,
            Math.ceil((scrollTop + clientHeight) / ROW_PX) + AROUND,
        );
        /** @type {Map<string, HTMLElement>} */
        const wanted = new Map();
        const spare = [...this.#nodes];
        const keys = new Set();
        for (let i = from; i < to; i++) keys.add(this.#options.keyOf(this.#items[i]));
        const free = spare.filter(([key]) => !keys.has(key)).map(([, node]) => node);
        for (let i = from; i < to; i++) {
            const key = this.#options.keyOf(this.#items[i]);
            wanted.set(key, this.#nodes.get(key) ?? this.#make(key, this.#items[i], free.pop()));
            this.#place(/** @type {HTMLElement} */ (wanted.get(key)), key, i);
        }
        for (const node of free) node.remove();
        this.#nodes = wanted;
    }

    /** @param {string} key @param {T} item @param {HTMLElement} [old] one that is not needed any more */
    #make(key, item, old) {
        const node = old ?? h('div', { class: 'list-row', role: 'option' });
        node.id = `row-${key}`;
        node.className = 'list-row';
        this.#options.draw(item, node);
        if (!old) this.#space.append(node);
        return node;
    }

    /** @param {HTMLElement} node @param {string} key @param {number} index */
    #place(node, key, index) {
        node.style.transform = `translateY(${index * ROW_PX}px)`;
        node.dataset.index = String(index);
        node.setAttribute('aria-posinset', String(index + 1));
        node.setAttribute('aria-setsize', String(this.#items.length));
        node.setAttribute('aria-selected', String(key === this.#selected));
    }

    #onScroll() {
        this.#follow = this.#atEnd();
        this.#later();
    }

    #atEnd() {
        const { scrollTop, scrollHeight, clientHeight } = this.element;
        return scrollHeight - clientHeight - scrollTop < ROW_PX;
    }

    /** @param {MouseEvent} event */
    #onClick({ target }) {
        const row = target instanceof Element ? target.closest('.list-row') : null;
        if (row instanceof HTMLElement) this.#select(Number(row.dataset.index));
    }

    /** @param {KeyboardEvent} event */
    #onKey(event) {
        const at = this.#at();
        const page = Math.floor(this.element.clientHeight / ROW_PX);
        const last = this.#items.length - 1;
        const from = at < 0 ? last + 1 : at;
        /** @type {Record<string, number>} */
        const steps = {
            ArrowUp: from - 1,
            ArrowDown: from + 1,
            PageUp: from - page,
            PageDown: from + page,
            Home: 0,
            End: last,
            Escape: -1,
        };
        if (!(event.key in steps) || last < 0 || (event.key === 'Escape' && at < 0)) return;
        event.preventDefault();
        event.stopPropagation();
        if (event.key === 'Escape') return this.#select(-1);
        const to = Math.min(last, Math.max(0, steps[event.key]));
        this.#select(to);
        this.#reveal(to);
    }

    #at() {
        return this.#items.findIndex((item) => this.#options.keyOf(item) === this.#selected);
    }

    /** @param {number} index */
    #reveal(index) {
        const { scrollTop, clientHeight } = this.element;
        const top = index * ROW_PX;
        if (top < scrollTop) this.element.scrollTop = top;
        else if (top + ROW_PX > scrollTop + clientHeight)
            this.element.scrollTop = top + ROW_PX - clientHeight;
    }

    /** @param {number} index -1: none */
    #select(index) {
        const item = this.#items[index] ?? null;
        this.#selected = item ? this.#options.keyOf(item) : '';
        if (item) {
            this.#follow = index === this.#items.length - 1 && this.#follow;
            this.element.setAttribute('aria-activedescendant', `row-${this.#selected}`);
        } else this.element.removeAttribute('aria-activedescendant');
        this.#options.onSelect?.(item);
        this.#later();
    }
}
