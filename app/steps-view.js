// What an agent did besides writing, folded behind one line: its reasoning, its tools,
// its progress. Closed it costs one line; open it shows everything there is.

import { h, icon, setText } from './dom.js';
import { morph } from './morph.js';

/** @typedef {import('./client/steps.js').Step} Step */

export class StepsView {
    #summary = h('span', { class: 'steps-title' });
    #now = h('span', { class: 'steps-now', dir: 'auto' });
    #list = h('ol', { class: 'steps-list' });
    /** @type {readonly Step[]} */
    #shown = [];
    #live = false;

    element = h(
        'details',
        { class: 'steps', hidden: true },
        h('summary', {}, icon('chevron'), this.#summary, this.#now),
        this.#list,
    );

    /**
     * @param {readonly Step[]} steps
     * @param {boolean} live
     */
    update(steps, live) {
        if (steps === this.#shown && live === this.#live) return;
        this.element.hidden = steps.length === 0;
        setText(this.#summary, titleOf(steps));
        setText(this.#now, live ? nowOf(steps) : '');
        for (let i = 0; i < Math.max(steps.length, this.#shown.length); i++) {
            if (steps[i] === this.#shown[i]) continue;
            const node = this.#list.children[i];
            if (!steps[i]) this.#list.lastElementChild?.remove();
            else if (node) morph(node, stepNode(steps[i]));
            else this.#list.append(stepNode(steps[i]));
        }
        this.#shown = steps;
        this.#live = live;
    }
}

/** @param {readonly Step[]} steps */
function titleOf(steps) {
    const tools = steps.filter((step) => step.kind === 'tool').length;
    const others = steps.filter((step) => step.kind === 'step').length;
    const words = [
        steps.some((step) => step.kind === 'reasoning') && 'Reasoning',
        tools && `${tools} tool ${tools === 1 ? 'call' : 'calls'}`,
        others && `${others} ${others === 1 ? 'step' : 'steps'}`,
    ].filter(Boolean);
    return words.join(' · ') || 'Details';
}

/** What is going on in this moment, in a few words. @param {readonly Step[]} steps */
function nowOf(steps) {
    const step = steps.at(-1);
    if (!step || step.state !== 'open') return '';
    if (step.kind !== 'reasoning') return `${step.name}…`;
    return step.text.trim().split('\n').at(-1)?.slice(-80) ?? '';
}

/** @type {Record<Step['state'], string>} */
const STATE_WORDS = { open: 'running…', done: 'done', failed: 'failed' };

/** @param {Step} step */
function stepNode(step) {
    const node = h('li', { class: `step step-${step.kind} is-${step.state}` });
    if (step.kind === 'reasoning') {
        node.append(h('div', { class: 'step-text', dir: 'auto' }, step.text));
        return node;
    }
    const names = { tool: 'wrench', step: 'check', progress: 'clock', other: 'dots' };
    const telling = step.kind === 'tool' || step.state !== 'done';
    node.append(
        h(
            'div',
            { class: 'step-head' },
            icon(step.kind === 'step' && step.state === 'open' ? 'dots' : names[step.kind]),
            h('span', { class: 'step-name' }, step.name),
            telling && h('span', { class: 'step-state' }, STATE_WORDS[step.state]),
        ),
    );
    if (step.text) node.append(h('div', { class: 'step-text', dir: 'auto' }, step.text));
    if (step.fraction !== null)
        node.append(h('progress', { value: String(step.fraction), 'aria-label': step.name }));
    if (step.input !== undefined) node.append(valueNode('call', step.input));
    if (step.output !== undefined) node.append(valueNode('result', step.output));
    return node;
}

/** @param {string} label @param {any} value */
function valueNode(label, value) {
    const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
    return h(
        'div',
        { class: 'step-value' },
        h('span', { class: 'step-label' }, label),
        h(
            'code',
            { dir: 'auto', tabindex: '0', role: 'group', 'aria-label': `The ${label}` },
            text,
        ),
    );
}
