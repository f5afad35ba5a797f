// What a Markdown lexer found becomes elements: only those made here, their text as text
// nodes, and links whose scheme is on a list. There is no way from an answer to an
// attribute or an element that is not written in this file: HTML in an answer is shown as
// the text it is, and pictures are links, because fetching one would tell a stranger's
// server what an answer wanted to tell it.

import { h, icon } from './dom.js';

/**
 * @typedef {object} Token one of `marked`'s; fields by type
 * @property {string} type
 * @property {string} raw
 * @property {string} [text]
 * @property {Token[]} [tokens]
 * @property {number} [depth]
 * @property {boolean} [ordered]
 * @property {number | ''} [start]
 * @property {boolean} [loose]
 * @property {any[]} [items]
 * @property {boolean} [checked]
 * @property {string} [lang]
 * @property {string} [href]
 * @property {string} [title]
 * @property {string} [tag] of an address: the name it is called by
 * @property {any[]} [header]
 * @property {any[][]} [rows]
 */

const SCHEMES = ['http:', 'https:', 'mailto:'];

/** @type {Record<string, string>} */
const ENTITIES = {
    amp: '&',
    lt: '<',
    gt: '>',
    quot: '"',
    apos: "'",
    nbsp: '\u00a0',
    copy: '©',
    hellip: '…',
    ndash: '–',
    mdash: '—',
    times: '×',
    rarr: '→',
    larr: '←',
};

/**
 * Entities as the characters they stand for; those not known stay as they are.
 * @param {string} text
 */
function decoded(text) {
    if (!text.includes('&')) return text;
    return text.replace(
        /&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|(\w{1,8}));/g,
        (all, ten, hex, name) => {
            if (name) return Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : all;
            const code = ten ? parseInt(ten, 10) : parseInt(hex, 16);
            return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
        },
    );
}

/**
 * @param {string} address
 * @returns {string | null} null: not a place that a link may lead to
 */
export function safeAddress(address) {
    try {
        // without a base: what is relative would lead into this application
        const url = new URL(decoded(address).trim());
        return SCHEMES.includes(url.protocol) ? url.href : null;
    } catch {
        return null;
    }
}

/**
 * One block of the text.
 * @param {Token} token
 * @param {number} heading the level of the heading before it
 * @returns {HTMLElement}
 */
export function blockNode(token, heading) {
    switch (token.type) {
        case 'paragraph':
            return h('p', { dir: 'auto' }, ...inlineNodes(token));
        case 'heading':
            return headingNode(token, heading);
        case 'code':
            return codeNode(token.text ?? '', (token.lang ?? '').trim().split(/\s/)[0]);
        case 'list':
            return listNode(token);
        case 'blockquote':
            return h('blockquote', { dir: 'auto' }, ...blockNodes(token.tokens, heading));
        case 'table':
            return tableNode(token);
        case 'hr':
            return h('hr');
        case 'text':
            return h('p', { dir: 'auto' }, ...inlineNodes(token));
        default: // html, and whatever a later lexer finds
            return h('p', { class: 'verbatim', dir: 'auto' }, token.raw.trimEnd());
    }
}

/** Is there anything to see of it? @param {Token} token */
export function isShown(token) {
    return token.type !== 'space' && token.type !== 'def';
}

/** @param {Token[] | undefined} tokens @param {number} heading */
function blockNodes(tokens, heading) {
    return (tokens ?? []).filter(isShown).map((token) => blockNode(token, heading));
}

/**
 * A level that is never more than one below the heading before it, so that who listens to
 * the page is not led past levels that are not there.
 * @param {Token} token
 * @param {number} before
 */
function headingNode(token, before) {
    const level = Math.min((token.depth ?? 1) + 2, before + 1, 6);
    const tag = /** @type {'h3'} */ (`h${level}`);
    return h(tag, { class: `md-h${token.depth ?? 1}`, dir: 'auto' }, ...inlineNodes(token));
}

/** @param {string} text @param {string} language */
function codeNode(text, language) {
    return h(
        'div',
        { class: 'code' },
        h(
            'div',
            { class: 'code-head' },
            h('span', { class: 'language' }, language || 'text'),
            h(
                'button',
                {
                    class: 'code-copy',
                    type: 'button',
                    'data-copy': 'code',
                    'aria-label': 'Copy the code',
                },
                icon('copy'),
                h('span', {}, 'Copy'),
            ),
        ),
        h(
            'pre',
            { tabindex: '0', role: 'group', 'aria-label': language ? `Code, ${language}` : 'Code' },
            h('code', {}, text),
        ),
    );
}

/** @param {Token} token */
function listNode(token) {
    /** @type {Record<string, string>} */
    const attributes = { dir: 'auto' };
    if (token.ordered && token.start !== 1 && token.start !== '')
        attributes.start = String(token.start);
    const items = (token.items ?? []).map((item) =>
        h('li', item.task ? { class: 'task' } : {}, ...itemNodes(item)),
    );
    return h(token.ordered ? 'ol' : 'ul', attributes, ...items);
}

/** @param {Token} item @returns {Node[]} */
function itemNodes(item) {
    return (item.tokens ?? []).filter(isShown).flatMap((token) => {
        if (token.type === 'checkbox') return [checkboxNode(Boolean(token.checked))];
        // a tight item's text stands in it without a paragraph
        return token.type === 'text' ? inlineNodes(token) : [blockNode(token, 2)];
    });
}

/** @param {boolean} checked */
function checkboxNode(checked) {
    const words = checked ? 'done' : 'not done';
    return h('span', { class: 'checkbox', role: 'img', 'aria-label': words }, checked ? '☑' : '☐');
}

/** @param {Token} token */
function tableNode(token) {
    /** @param {'th' | 'td'} tag @param {any} cell */
    const cellNode = (tag, cell) =>
        h(tag, cell.align ? { class: `align-${cell.align}` } : {}, ...inlineNodes(cell));
    return h(
        'div',
        { class: 'table', tabindex: '0', role: 'group', 'aria-label': 'Table' },
        h(
            'table',
            {},
            h(
                'thead',
                {},
                h('tr', {}, ...(token.header ?? []).map((cell) => cellNode('th', cell))),
            ),
            h(
                'tbody',
                {},
                ...(token.rows ?? []).map((row) =>
                    h('tr', {}, ...row.map((cell) => cellNode('td', cell))),
                ),
            ),
        ),
    );
}

/** @param {{ tokens?: Token[], text?: string, raw?: string }} parent @returns {Node[]} */
function inlineNodes(parent) {
    if (!parent.tokens) return [document.createTextNode(decoded(parent.text ?? parent.raw ?? ''))];
    return parent.tokens.map(inlineNode);
}

/** @param {Token} token @returns {Node} */
function inlineNode(token) {
    switch (token.type) {
        case 'strong':
        case 'em':
        case 'del':
            return h(token.type, {}, ...inlineNodes(token));
        case 'codespan':
            return h('code', {}, token.text ?? '');
        case 'br':
            return h('br');
        case 'link':
            return linkNode(token, inlineNodes(token));
        case 'image':
            return linkNode(token, [
                document.createTextNode(`🖼 ${decoded(token.text || 'picture')}`),
            ]);
        case 'text':
            return token.tokens
                ? h('span', {}, ...inlineNodes(token))
                : document.createTextNode(decoded(token.text ?? ''));
        case 'escape':
            return document.createTextNode(token.text ?? '');
        default: // html, and whatever a later lexer finds
            return document.createTextNode(token.raw);
    }
}

/** @param {Token} token @param {Node[]} content */
function linkNode(token, content) {
    const address = safeAddress(token.href ?? '');
    if (!address) return document.createTextNode(token.raw);
    return h(
        'a',
        { href: address, title: address, target: '_blank', rel: 'noopener noreferrer nofollow' },
        ...content,
    );
}
