// Tokens a second as bars, the latency of events as a line, over the last minute. Drawn as
// two paths of one SVG that are made anew once a second.

import { h, setText } from './dom.js';
import { formatMs } from './words.js';

const SECONDS = 60;
const WIDTH = 360;
const HEIGHT = 64;
const NS = 'http://www.w3.org/2000/svg';

/** @typedef {import('./trace.js').Second} Second */

/** @param {string} name */
function path(name) {
    const element = document.createElementNS(NS, 'path');
    element.setAttribute('class', name);
    return element;
}

export class Chart {
    #bars = path('chart-bars');
    #line = path('chart-line');
    #svg = document.createElementNS(NS, 'svg');
    #tokens = h('span', { class: 'chart-tokens' });
    #latency = h('span', { class: 'chart-latency' });
    element = h('figure', { class: 'chart' });

    constructor() {
        this.#svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
        this.#svg.setAttribute('preserveAspectRatio', 'none');
        this.#svg.setAttribute('role', 'img');
        this.#svg.append(this.#bars, this.#line);
        this.element.append(
            this.#svg,
            h('figcaption', {}, this.#tokens, this.#latency, h('span', {}, 'last 60 s')),
        );
    }

    /** @param {ReadonlyMap<number, Second>} seconds @param {number} nowMs */
    draw(seconds, nowMs) {
        const now = Math.floor(nowMs / 1000);
        const all = Array.from({ length: SECONDS }, (_, i) => seconds.get(now - SECONDS + 1 + i));
        const tokensMax = Math.max(10, ...all.map((second) => second?.tokens ?? 0));
        const latencyMax = Math.max(20, ...all.map((second) => second?.latencyMs ?? 0));
        this.#bars.setAttribute('d', barsOf(all, tokensMax));
        this.#line.setAttribute('d', lineOf(all, latencyMax));
        const peak = Math.max(0, ...all.map((second) => second?.tokens ?? 0));
        const slow = Math.max(0, ...all.map((second) => second?.latencyMs ?? 0));
        setText(this.#tokens, `tokens/s, up to ${peak}`);
        setText(this.#latency, slow > 0 ? `latency, up to ${formatMs(slow)}` : 'latency');
        const words = `In the last minute up to ${peak} tokens a second, latency up to ${formatMs(slow)}`;
        if (this.#svg.getAttribute('aria-label') !== words)
            this.#svg.setAttribute('aria-label', words);
    }
}

/** @param {(Second | undefined)[]} all @param {number} max */
function barsOf(all, max) {
    const wide = WIDTH / SECONDS;
    return all
        .map((second, i) => {
            if (!second?.tokens) return '';
            const high = Math.max(1, (second.tokens / max) * (HEIGHT - 4));
            return `M${i * wide + 0.5} ${HEIGHT}v${-high.toFixed(1)}h${wide - 1}v${high.toFixed(1)}z`;
        })
        .join('');
}

/** A second in which nothing came interrupts it. @param {(Second | undefined)[]} all @param {number} max */
function lineOf(all, max) {
    const wide = WIDTH / SECONDS;
    let on = false;
    return all
        .map((second, i) => {
            if (!second?.events) {
                on = false;
                return '';
            }
            const y = (HEIGHT - 2 - (Math.max(0, second.latencyMs) / max) * (HEIGHT - 6)).toFixed(
                1,
            );
            const at = `${on ? 'L' : 'M'}${(i + 0.5) * wide} ${y}${on ? '' : 'h0.01'}`;
            on = true;
            return at;
        })
        .join('');
}
