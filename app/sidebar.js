// The list of conversations. Beside the conversation on a wide screen, a drawer on a phone.

import { byId, h, icon, setText } from './dom.js';

/** @typedef {import('./api.js').Thread} Thread */

const NARROW = matchMedia('(max-width: 760px)');

export class Sidebar {
    #element = byId('sidebar', HTMLElement);
    #list = byId('threads', HTMLElement);
    #toggle = byId('menu', HTMLButtonElement);
    #shade = byId('shade', HTMLElement);
    #terminal = byId('terminal', HTMLElement);
    #line = byId('terminal-line', HTMLElement);

    #onDelete;
    #drawn = '';

    /** @param {{ onDelete: (thread: Thread) => void }} handlers */
    constructor({ onDelete }) {
        this.#onDelete = onDelete;
        this.#toggle.addEventListener('click', () => this.#setOpen(!this.#open));
        this.#shade.addEventListener('click', () => this.close());
        document.addEventListener('keydown', (event) => {
            if (event.key === 'Escape' && this.#open) this.close();
        });
        NARROW.addEventListener('change', () => this.#setOpen(false));
        this.#setOpen(false);
    }

    /**
     * @param {readonly Thread[]} threads newest first
     * @param {string} current the id of the open one, '' for none
     */
    update(threads, current) {
        const drawn = JSON.stringify([current, threads]);
        if (drawn === this.#drawn) return; // a button that is pressed stays where it is
        this.#drawn = drawn;
        this.#list.replaceChildren(
            ...threads.map((thread) =>
                h(
                    'li',
                    {},
                    h(
                        'a',
                        {
                            href: `#/t/${encodeURIComponent(thread.id)}`,
                            'aria-current': thread.id === current ? 'page' : undefined,
                        },
                        h(
                            'span',
                            { class: 'thread-title', dir: 'auto' },
                            thread.title || 'Untitled',
                        ),
                        h('span', { class: 'thread-date' }, dateOf(thread)),
                    ),
                    this.#deleteButton(thread),
                ),
            ),
        );
        byId('no-threads', HTMLElement).hidden = threads.length > 0;
        this.#terminal.hidden = !current;
        setText(
            this.#line,
            `redis-cli publish thread:${current} '{"type":"token","content":"Hello 👋 "}'`,
        );
    }

    /** Asks once more, in its own place: the second press means it. @param {Thread} thread */
    #deleteButton(thread) {
        const title = thread.title || 'Untitled';
        const button = h(
            'button',
            {
                class: 'thread-delete',
                type: 'button',
                'aria-label': `Delete ${title}`,
                title: 'Delete',
            },
            icon('trash'),
        );
        button.addEventListener('click', () => {
            if (button.classList.contains('is-sure')) return this.#onDelete(thread);
            button.classList.add('is-sure');
            button.replaceChildren('Delete?');
            button.setAttribute('aria-label', `Really delete ${title}`);
        });
        button.addEventListener('blur', () => {
            button.classList.remove('is-sure');
            button.replaceChildren(icon('trash'));
            button.setAttribute('aria-label', `Delete ${title}`);
        });
        return button;
    }

    close() {
        if (!this.#open) return;
        this.#setOpen(false);
        this.#toggle.focus();
    }

    get #open() {
        return document.body.classList.contains('drawer-open');
    }

    /** @param {boolean} open */
    #setOpen(open) {
        document.body.classList.toggle('drawer-open', open);
        this.#toggle.setAttribute('aria-expanded', String(open));
        this.#shade.hidden = !open;
        this.#element.inert = NARROW.matches && !open;
        byId('main', HTMLElement).inert = open;
        if (open) byId('new', HTMLButtonElement).focus();
    }
}

/** @param {Thread} thread */
function dateOf({ createdAt }) {
    const date = new Date(createdAt);
    if (Number.isNaN(date.getTime())) return '';
    const today = date.toDateString() === new Date().toDateString();
    return today
        ? date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
        : date.toLocaleDateString([], { day: 'numeric', month: 'short' });
}
