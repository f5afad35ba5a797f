// Keys that do something when nobody is typing, and the list of them. They are single
// letters, so they can be turned off: somebody who speaks to the computer would set them
// off without wanting to.

import { byId, h } from './dom.js';

const KEPT = 'threadcast.shortcuts';

/**
 * @typedef {object} Shortcut
 * @property {string} key as in `KeyboardEvent.key`
 * @property {string} words
 * @property {() => void} [action] none: only listed, it works where it is used
 */

export class Shortcuts {
    #dialog = byId('shortcuts', HTMLDialogElement);
    #shortcuts;
    #on = isOn();

    /** @param {Shortcut[]} shortcuts */
    constructor(shortcuts) {
        this.#shortcuts = shortcuts;
        const box = h('input', {
            type: 'checkbox',
            checked: this.#on,
            onchange: () => this.#set(box.checked),
        });
        this.#dialog.append(
            h('h2', { id: 'shortcuts-title' }, 'Keyboard'),
            h(
                'dl',
                {},
                ...shortcuts.map(({ key, words }) =>
                    h('div', {}, h('dt', {}, ...keysOf(key)), h('dd', {}, words)),
                ),
            ),
            h(
                'label',
                { class: 'shortcuts-on' },
                box,
                'Single keys do this while nobody is typing',
            ),
            h(
                'button',
                { class: 'tool', type: 'button', onclick: () => this.#dialog.close() },
                'Close',
            ),
        );
        document.addEventListener('keydown', (event) => this.#onKey(event));
    }

    open() {
        this.#dialog.showModal();
    }

    /** @param {KeyboardEvent} event */
    #onKey(event) {
        if (!this.#on || event.ctrlKey || event.metaKey || event.altKey || event.isComposing)
            return;
        if (this.#dialog.open || event.defaultPrevented || isTyping(event.target)) return;
        const shortcut = this.#shortcuts.find(({ key, action }) => action && key === event.key);
        if (!shortcut) return;
        event.preventDefault();
        shortcut.action?.();
    }

    /** @param {boolean} on */
    #set(on) {
        this.#on = on;
        try {
            localStorage.setItem(KEPT, on ? 'on' : 'off');
        } catch {
            // a browser that keeps nothing: on again next time
        }
    }
}

/** @param {string} key @returns {(Node | string)[]} */
function keysOf(key) {
    return key.split('+').flatMap((part, i) => [i ? ' + ' : '', h('kbd', {}, part || '+')]);
}

/** @param {EventTarget | null} target */
function isTyping(target) {
    return (
        target instanceof Element &&
        Boolean(target.closest('input:not([type=checkbox]), textarea, select'))
    );
}

function isOn() {
    try {
        return localStorage.getItem(KEPT) !== 'off';
    } catch {
        return true;
    }
}
