// A little formatting for answers: paragraphs, headings, lists, quotes, fenced code,
// `code`, **strong**.
//
// It only ever wraps text nodes in elements. What marks something up (backticks, stars)
// stays in the document and is hidden by the style sheet, so the `textContent` of a shown
// answer *is* the answer, character for character. Tests and visitors may compare.

import { h } from './dom.js';

/**
 * @typedef {object} Block
 * @property {'text' | 'code'} kind
 * @property {string} text everything, marks and line ends included
 */

/**
 * @param {string} text
 * @returns {Block[]} their texts add up to `text`
 */
export function blocksOf(text) {
    /** @type {Block[]} */
    const blocks = [];
    const fence = /^```.*\n*/gm;
    let at = 0;
    for (let open = fence.exec(text); open; open = fence.exec(text)) {
        blocks.push(...paragraphsOf(text.slice(at, open.index)));
        const close = fence.exec(text);
        at = close ? close.index + close[0].length : text.length;
        blocks.push({ kind: 'code', text: text.slice(open.index, at) });
        if (!close) break;
    }
    blocks.push(...paragraphsOf(text.slice(at)));
    return blocks;
}

/** @param {string} text @returns {Block[]} */
function paragraphsOf(text) {
    const parts = text.match(/[^]+?(?:\n{2,}|$)/g) ?? [];
    return parts.map((part) => ({ kind: 'text', text: part }));
}

/** Keeps one element showing a text that grows, touching only what changed. */
export class FormattedText {
    /** @type {{ block: Block, node: HTMLElement }[]} */
    #shown = [];
    #text = '';

    /** @param {HTMLElement} element */
    constructor(element) {
        this.element = element;
    }

    /** @param {string} text */
    set(text) {
        if (text === this.#text) return;
        this.#text = text;
        const blocks = blocksOf(text);
        let same = 0;
        while (
            same < blocks.length &&
            same < this.#shown.length &&
            blocks[same].text === this.#shown[same].block.text &&
            blocks[same].kind === this.#shown[same].block.kind
        )
            same++;
        for (const { node } of this.#shown.splice(same)) node.remove();
        for (const block of blocks.slice(same)) {
            const node = block.kind === 'code' ? codeNode(block.text) : textNode(block.text);
            this.element.append(node);
            this.#shown.push({ block, node });
        }
    }
}

/** @param {string} text */
function mark(text) {
    return text ? h('span', { class: 'mark' }, text) : '';
}

/** @param {string} text */
function codeNode(text) {
    const [, ticks, language, rest] = /^(```)(.*\n?)([^]*)$/.exec(text) ?? ['', '', '', text];
    const [, code, end] = /^([^]*?)(\n?```[^\n]*\n*|\n?)$/.exec(rest) ?? ['', rest, ''];
    const name = language.trim();
    return h(
        'div',
        {
            class: 'code',
            tabindex: '0',
            role: 'group',
            'aria-label': name ? `Code, ${name}` : 'Code',
        },
        mark(ticks),
        name ? h('span', { class: 'language' }, language) : mark(language),
        h('code', {}, code),
        mark(end),
    );
}

/** @param {string} text */
function textNode(text) {
    const [, start, body, end] = /^(\n*)([^]*?)(\n*)$/.exec(text) ?? ['', '', text, ''];
    const heading = /^#{1,4} (?=.*$)/.exec(body);
    const quote = !heading && body.startsWith('> ');
    const name = heading ? 'heading' : quote ? 'quote' : 'paragraph';
    const nodes = heading
        ? [mark(heading[0]), ...inlineNodes(body.slice(heading[0].length))]
        : lineNodes(body, quote);
    return h('div', { class: name, dir: 'auto' }, mark(start), ...nodes, mark(end));
}

/**
 * Items of lists hang; the marks of a quote are hidden.
 * @param {string} body
 * @param {boolean} quote
 * @returns {(Node | string)[]}
 */
function lineNodes(body, quote) {
    return body.split(/(?<=\n)/).flatMap((line) => {
        const item = /^(\d{1,3}\.|[-*•]) /.exec(line);
        if (item) {
            return [
                h(
                    'div',
                    { class: 'item' },
                    h('span', { class: 'bullet' }, item[0]),
                    ...inlineNodes(line.slice(item[0].length)),
                ),
            ];
        }
        return quote && line.startsWith('> ')
            ? [mark('> '), ...inlineNodes(line.slice(2))]
            : inlineNodes(line);
    });
}

/** @param {string} text @returns {(Node | string)[]} */
function inlineNodes(text) {
    return text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/).map((part, index) => {
        if (index % 2 === 0) return part;
        const ticks = part[0] === '`' ? 1 : 2;
        return h(
            ticks === 1 ? 'code' : 'strong',
            {},
            mark(part.slice(0, ticks)),
            part.slice(ticks, -ticks),
            mark(part.slice(-ticks)),
        );
    });
}
