// Who is asked: one agent or several of those that the workers offer. Nothing to choose,
// nothing to see.

import { byId, h } from './dom.js';

/** @typedef {import('./api.js').Agent} Agent */

const KEPT = 'threadcast.agents';
/** the server takes so many for one prompt */
const AGENTS_MAX = 8;

export class AgentPicker {
    #element = byId('agents', HTMLElement);
    /** @type {readonly Agent[]} */
    #agents = [];
    #usual = '';
    /** @type {Set<string>} */
    #chosen = new Set(kept());

    /** @param {{ usual: string, agents: Agent[] }} offer */
    offer({ usual, agents }) {
        this.#usual = usual;
        this.#agents = agents;
        const names = agents.map(({ name }) => name);
        this.#chosen = new Set([...this.#chosen].filter((name) => names.includes(name)));
        if (!this.#chosen.size && names.length)
            this.#chosen.add(names.includes(usual) ? usual : names[0]);
        this.#element.hidden = agents.length < 2;
        this.#element.replaceChildren(
            h('legend', { class: 'unseen' }, 'Who is asked'),
            ...agents.map((agent) => this.#node(agent)),
        );
        this.#settle();
    }

    /** The names to send; none when there is nobody else than who answers usually. @returns {string[]} */
    get chosen() {
        if (this.#agents.length < 2) return [];
        return this.#agents.map(({ name }) => name).filter((name) => this.#chosen.has(name));
    }

    /** @param {Agent} agent */
    #node({ name, description }) {
        const box = h('input', {
            type: 'checkbox',
            value: name,
            checked: this.#chosen.has(name),
            onchange: () => this.#onChange(name, box.checked),
        });
        return h(
            'label',
            {
                class: 'agent',
                title:
                    [description, name === this.#usual && 'Answers usually.']
                        .filter(Boolean)
                        .join(' ') || undefined,
            },
            box,
            h('span', {}, name),
        );
    }

    /** @param {string} name @param {boolean} checked */
    #onChange(name, checked) {
        if (checked) this.#chosen.add(name);
        else this.#chosen.delete(name);
        try {
            localStorage.setItem(KEPT, JSON.stringify([...this.#chosen]));
        } catch {
            // a browser that keeps nothing: chosen anew next time
        }
        this.#settle();
    }

    /** At least one is asked, and no more than the server takes. */
    #settle() {
        for (const box of this.#element.querySelectorAll('input')) {
            const last = this.#chosen.size === 1 && this.#chosen.has(box.value);
            const full = this.#chosen.size >= AGENTS_MAX && !this.#chosen.has(box.value);
            box.checked = this.#chosen.has(box.value);
            box.disabled = last || full;
        }
    }
}

/** @returns {string[]} */
function kept() {
    try {
        const names = JSON.parse(localStorage.getItem(KEPT) ?? '[]');
        return Array.isArray(names) ? names.map(String) : [];
    } catch {
        return [];
    }
}
