// Keeps one element showing a Markdown text that grows, block by block: what is finished
// is never looked at again, only the last blocks are lexed and patched as tokens come.
//
//   text ─▶ marked's lexer ─▶ tokens ─▶ markdown-nodes ─▶ morph ─▶ the page
//
// The lexer is all we take of `marked` (docs/decisions/0007): it reads text and gives
// objects. It is fetched when the project is built (scripts/vendor); where it is missing,
// answers are shown as the plain text they are.

import { h } from './dom.js';
import { blockNode, isShown } from './markdown-nodes.js';
import { morph } from './morph.js';

/** @typedef {import('./markdown-nodes.js').Token} Token */

/**
 * @typedef {Record<string, { href?: string, title?: string }>} Links by name
 *
 * @typedef {object} Block
 * @property {string} raw
 * @property {string} type
 * @property {number} end where it ends in the text, and what is not shown behind it
 * @property {number} heading the level of the last heading up to its end
 * @property {Element} node
 */

/** a paragraph beyond this is shown without bold and links: reading it would take too long */
const INLINE_MAX = 8_000;
/** how many blocks may still become something else: a list goes on behind an empty line */
const OPEN_BLOCKS = 2;
/** a text that takes this long to read is read again only when ten times as much has passed */
const SLOW_MS = 8;

/** @type {any} marked's Lexer; null without it */
let Lexer = null;

/** @returns {Promise<boolean>} false: not there, texts will be shown as they are */
export async function loadMarkdown() {
    const place = './vendor/marked.esm.js'; // not there when the types are checked
    try {
        ({ Lexer } = await import(place));
    } catch {
        Lexer = null;
    }
    return Boolean(Lexer);
}

export class MarkdownView {
    #text = '';
    /** @type {Block[]} */
    #blocks = [];
    /** how many of them are finished */
    #settled = 0;
    /** @type {Links} addresses that its finished part defines for links */
    #links = {};
    /** all of them, as they were shown last */
    #linksShown = '{}';
    /** until when a text that is slow to read is left alone */
    #restUntil = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #later;

    /** @param {HTMLElement} element */
    constructor(element) {
        this.element = element;
    }

    /**
     * @param {string} text
     * @param {boolean} [complete] nothing more will come: read it as a whole once more
     */
    set(text, complete = false) {
        if (text === this.#text && !(complete && this.#settled < this.#blocks.length)) return;
        clearTimeout(this.#later);
        const rest = complete ? 0 : this.#restUntil - performance.now();
        if (rest > 0) {
            this.#later = setTimeout(() => this.set(text), rest);
            return;
        }
        const from = performance.now();
        if (complete || !this.#goesOn(text)) this.#startOver();
        this.#text = text;
        try {
            this.#draw(text);
        } catch {
            this.#drawPlain(text); // nested deeper than the stack is
        }
        if (complete) this.#settled = this.#blocks.length;
        const took = performance.now() - from;
        this.#restUntil = took > SLOW_MS ? from + 10 * took : 0;
    }

    /** Does the text still begin with what is finished? @param {string} text */
    #goesOn(text) {
        const end = this.#settledEnd();
        return text.length >= end && text.startsWith(this.#text.slice(0, end));
    }

    /** Nothing is finished: all of it is read again. */
    #startOver() {
        this.#settled = 0;
        this.#links = {};
    }

    #settledEnd() {
        return this.#settled ? this.#blocks[this.#settled - 1].end : 0;
    }

    /** @param {string} text */
    #draw(text) {
        const found = this.#tokensOf(text.slice(this.#settledEnd()));
        if (!found) return this.#drawPlain(text);
        let { tokens, links } = found;
        if (this.#linksChanged(links)) {
            this.#startOver();
            for (const block of this.#blocks) block.type = ''; // is made anew
            ({ tokens, links } = this.#tokensOf(text) ?? found);
        }
        let at = this.#settledEnd();
        let index = this.#settled;
        let exact = true;
        for (const token of tokens) {
            // what the lexer has made up (a line end between two pieces) must not shift the rest
            exact &&= text.startsWith(token.raw, at);
            at += token.raw.length;
            if (isShown(token)) this.#put(index++, token, at);
            else if (index > 0) this.#blocks[index - 1].end = at;
        }
        for (const { node } of this.#blocks.splice(index)) node.remove();
        if (exact) this.#settle(tokens, index - OPEN_BLOCKS);
    }

    /** The blocks before this one are finished, and what they define. @param {Token[]} tokens @param {number} blocks */
    #settle(tokens, blocks) {
        let at = this.#settledEnd();
        this.#settled = Math.max(this.#settled, blocks);
        const end = this.#settledEnd();
        for (const { type, raw, tag, href, title } of tokens) {
            at += raw.length;
            if (at <= end && type === 'def' && tag !== undefined)
                this.#links[tag] ??= { href, title };
        }
    }

    /** An address that is defined now, or says more now, may be meant by links further up. @param {Links} links */
    #linksChanged(links) {
        const now = JSON.stringify(links);
        const changed = now !== this.#linksShown;
        this.#linksShown = now;
        return changed && this.#blocks.length > 0;
    }

    /** @param {number} index @param {Token} token @param {number} end */
    #put(index, token, end) {
        const before = index ? this.#blocks[index - 1].heading : 2;
        const old = this.#blocks[index];
        if (old && old.raw === token.raw && old.type === token.type) {
            old.end = end;
            return;
        }
        let node = blockNode(token, before);
        const level = /^H([3-6])$/.exec(node.tagName);
        if (old) node = /** @type {HTMLElement} */ (morph(old.node, node));
        else this.element.append(node);
        this.#blocks[index] = {
            raw: token.raw,
            type: token.type,
            end,
            heading: level ? Number(level[1]) : before,
            node,
        };
    }

    /** @param {string} text */
    #drawPlain(text) {
        for (const { node } of this.#blocks.splice(0)) node.remove();
        this.#settled = 0;
        const node = h('div', { class: 'verbatim', dir: 'auto' }, text);
        this.element.append(node);
        // its type is no token's: the next drawing makes it anew
        this.#blocks.push({ raw: text, type: '', end: 0, heading: 2, node });
    }

    /** @param {string} text @returns {{ tokens: Token[], links: Links } | null} null: as it is */
    #tokensOf(text) {
        if (!Lexer) return null;
        try {
            return this.#lexed(text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text);
        } catch {
            return null; // nested deeper than the stack is
        }
    }

    /**
     * `Lexer.lex`, but for paragraphs beyond all measure, and with the addresses that
     * earlier parts of the text have defined.
     * @param {string} text
     * @returns {{ tokens: Token[], links: Links }}
     */
    #lexed(text) {
        const lexer = new Lexer({ gfm: true, breaks: true });
        Object.assign(lexer.tokens.links, this.#links);
        lexer.blockTokens(text, lexer.tokens);
        for (const { src, tokens } of lexer.inlineQueue) {
            if (src.length > INLINE_MAX) tokens.push({ type: 'text', raw: src, text: src });
            else lexer.inlineTokens(src, tokens);
        }
        return { tokens: lexer.tokens, links: lexer.tokens.links };
    }
}
