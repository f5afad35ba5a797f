// The messages of <threadcast-thread> in the page, in their order, a few dozen to a block. A
// browser leaves out the blocks that nobody sees (`content-visibility`), and has a hundred
// things to look at in a conversation of thousands, not all of them.

import { make, MessageView } from './element-message.js';

/** @typedef {import('./state.js').Item} Item */

const BLOCK = 50;

export class MessageList {
    element = make('div', 'list');
    /** @type {Map<string, MessageView>} */
    #views = new Map();
    /** @type {readonly Item[]} */
    #items = [];
    #onRetry;

    /** @param {(item: Item) => void} onRetry */
    constructor(onRetry) {
        this.#onRetry = onRetry;
    }

    clear() {
        this.#views.clear();
        this.#items = [];
        this.element.replaceChildren();
    }

    /** @param {readonly Item[]} items @returns {Item[]} those that are not as they were */
    draw(items) {
        const before = this.#items;
        this.#items = items;
        const moved = items.length !== before.length || items.some(({ key }, i) => key !== before[i].key);
        if (moved) this.#place(items);
        const changed = items.filter((item, i) => item !== before[i]);
        for (const item of changed) this.#views.get(item.key)?.update(item);
        return changed;
    }

    /** @param {readonly Item[]} items */
    #place(items) {
        const keys = new Set(items.map(({ key }) => key));
        for (const [key, { element }] of this.#views) {
            if (keys.has(key)) continue;
            const block = element.parentElement;
            element.remove();
            this.#views.delete(key);
            if (!block?.childElementCount) block?.remove();
        }
        /** @type {Element | null} */
        let last = null;
        for (const item of items) {
            const view = this.#views.get(item.key) ?? new MessageView(item, this.#onRetry);
            this.#views.set(item.key, view);
            if (this.#behind(last) !== view.element) this.#insert(view.element, last);
            last = view.element;
        }
    }

    /** What stands behind it now. @param {Element | null} node null: the beginning */
    #behind(node) {
        const next = node ? node.nextElementSibling : null;
        const block = node ? node.parentElement?.nextElementSibling : this.element.firstElementChild;
        return next ?? block?.firstElementChild ?? null;
    }

    /** @param {Element} node @param {Element | null} last what it comes behind; null: the beginning */
    #insert(node, last) {
        const block = last?.parentElement;
        if (!last || !block) {
            const first = this.element.firstElementChild;
            this.element.insertBefore(make('div', 'block', node), first);
        } else if (block.childElementCount < BLOCK) {
            last.after(node);
        } else {
            const rest = [...block.children].slice([...block.children].indexOf(last) + 1);
            block.after(make('div', 'block', node, ...rest));
        }
    }
}
