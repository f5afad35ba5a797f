// The inspector: what a developer opens when something looks stuck. Beside the conversation
// (above it on a phone), with two lists:
//
//   Events   what the conversation's own stream has told (trace.js), with latency and gaps
//   Wire     the lines of a second connection of the inspector's own (wire-tap.js)
//
// It looks a few times a second whether there is anything new and draws what is in sight;
// closed, it costs nothing.

import { eventsUrl } from './api.js';
import { Chart } from './chart.js';
import { copyFrom } from './copy.js';
import { byId, h, icon, setText } from './dom.js';
import { drawEntry, drawLine, wireOf } from './inspector-rows.js';
import { VirtualList } from './virtual-list.js';
import { WireTap } from './wire-tap.js';
import { formatBytes, formatMs } from './words.js';

/**
 * @typedef {import('./conversation.js').Conversation} Conversation
 * @typedef {import('./trace.js').Entry} Entry
 * @typedef {import('./wire-tap.js').Line} Line
 * @typedef {'' | 'events' | 'wire'} Tab '' when the inspector is closed
 */

const LOOK_MS = 200;

export class Inspector {
    element = byId('inspector', HTMLElement);
    /** @type {Tab} */
    tab = '';
    /** @type {Conversation | null} */
    #conversation = null;
    /** @type {WireTap | null} */
    #tap = null;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    #timer;
    #paused = false;
    /** what was shown last: version, filter, tab */
    #shown = '';
    #matches = new Matches();
    #onTab;

    #chart = new Chart();
    #facts = h('p', { class: 'inspector-facts' });
    #filter = h('input', {
        type: 'search',
        class: 'inspector-filter',
        placeholder: 'Filter',
        'aria-label': 'Filter the list',
        autocomplete: 'off',
        spellcheck: 'false',
        oninput: () => this.#look(),
    });
    #events = /** @type {VirtualList<Entry>} */ (
        new VirtualList({
            label: 'Events of this conversation',
            draw: drawEntry,
            keyOf: (entry) => `e${entry.serial}`,
            onSelect: (entry) => this.#show(entry),
        })
    );
    #wire = /** @type {VirtualList<Line>} */ (
        new VirtualList({
            label: 'Lines of the stream',
            draw: drawLine,
            keyOf: (line) => `l${line.serial}`,
        })
    );
    #panel = h('div', { class: 'inspector-panel', role: 'tabpanel', id: 'inspector-list' });
    #note = h('p', { class: 'inspector-note' });
    #json = h(
        'pre',
        { tabindex: '0', role: 'group', 'aria-label': 'The selected event' },
        h('code', {}),
    );
    #detail = h('section', {
        class: 'inspector-detail',
        'aria-label': 'The selected event',
        hidden: true,
    });
    #pause = toolButton('Pause', () => this.#setPaused(!this.#paused));
    #tabs = {
        events: tabButton('Events', () => this.#onTab('events')),
        wire: tabButton('Wire', () => this.#onTab('wire')),
    };

    /** @param {(tab: Tab) => void} onTab somebody wants to see something else: it belongs in the address */
    constructor(onTab) {
        this.#onTab = onTab;
        const copy = toolButton('Copy', (event) =>
            copyFrom(event.currentTarget, this.#json.textContent ?? ''),
        );
        this.#detail.append(
            h(
                'header',
                {},
                h('h3', {}, 'Selected'),
                copy,
                toolButton('Close', () => this.#events.unselect()),
            ),
            this.#json,
        );
        this.element.append(
            h(
                'header',
                { class: 'inspector-head' },
                h('h2', {}, 'Inspector'),
                h(
                    'div',
                    {
                        class: 'tabs',
                        role: 'tablist',
                        'aria-label': 'What to see',
                        onkeydown: (event) => this.#onTabKey(event),
                    },
                    this.#tabs.events,
                    this.#tabs.wire,
                ),
                h(
                    'button',
                    {
                        class: 'icon-button',
                        type: 'button',
                        'aria-label': 'Close the inspector',
                        onclick: () => onTab(''),
                    },
                    icon('close'),
                ),
            ),
            this.#chart.element,
            this.#facts,
            h(
                'div',
                { class: 'inspector-tools' },
                this.#filter,
                this.#pause,
                toolButton('Clear', () => this.#clear()),
                toolButton('Export', () => this.#export(), 'Save what is listed as JSON'),
            ),
            this.#note,
            this.#panel,
            this.#detail,
        );
    }

    /** @param {Conversation | null} conversation */
    show(conversation) {
        if (conversation === this.#conversation) return;
        this.#conversation = conversation;
        this.#matches = new Matches();
        this.#events.unselect();
        this.#tapIfWanted();
        this.#look();
    }

    /** @param {Tab} tab */
    open(tab) {
        if (tab === this.tab) return;
        this.tab = tab;
        this.element.hidden = !tab;
        clearInterval(this.#timer);
        this.#tapIfWanted();
        if (!tab) return;
        this.#timer = setInterval(() => this.#look(), LOOK_MS);
        for (const [name, button] of Object.entries(this.#tabs)) {
            button.setAttribute('aria-selected', String(name === tab));
            button.tabIndex = name === tab ? 0 : -1;
        }
        this.#panel.setAttribute('aria-label', tab === 'wire' ? 'Wire' : 'Events');
        this.#panel.replaceChildren(tab === 'wire' ? this.#wire.element : this.#events.element);
        this.#note.hidden = tab !== 'wire';
        setText(
            this.#note,
            'A second connection of the inspector’s own, by fetch: EventSource does not show its lines.',
        );
        this.#events.unselect();
        this.#setPaused(false);
    }

    #tapIfWanted() {
        this.#tap?.close();
        this.#tap = null;
        const conversation = this.#conversation;
        if (this.tab !== 'wire' || !conversation) return;
        this.#tap = new WireTap(
            (since) => eventsUrl(conversation.threadId, since),
            conversation.position,
        );
    }

    // ---- looking -----------------------------------------------------------------------

    #look() {
        if (!this.tab || document.hidden) return;
        const trace = this.#conversation?.trace;
        this.#drawFacts();
        if (trace) this.#chart.draw(trace.seconds, performance.timeOrigin + performance.now());
        const version = this.tab === 'wire' ? this.#tap?.version : trace?.version;
        const filter = this.#filter.value.trim().toLowerCase();
        const shown = `${this.tab} ${this.#conversation?.threadId} ${version} ${filter}`;
        if (
            shown === this.#shown ||
            (this.#paused && shown.startsWith(`${this.tab} `) && this.#sameFilter(filter))
        )
            return;
        this.#shown = shown;
        if (this.tab === 'wire') this.#wire.set(linesOf(this.#tap?.lines ?? [], filter));
        else this.#events.set(this.#matches.of(trace?.entries ?? [], filter));
    }

    /** @param {string} filter */
    #sameFilter(filter) {
        return this.#shown.endsWith(` ${filter}`);
    }

    #drawFacts() {
        const conversation = this.#conversation;
        if (!conversation) return setText(this.#facts, 'No conversation is open.');
        const { ledger, trace, reconnects, duplicated } = conversation;
        const silence = trace.lastAt
            ? performance.timeOrigin + performance.now() - trace.lastAt
            : 0;
        setText(
            this.#facts,
            [
                `${trace.entries.length + trace.dropped} entries`,
                `gaps ${ledger.lost}`,
                `duplicates ${duplicated}`,
                `reconnects ${reconnects}`,
                silence > 0 && `last ${silence < 1000 ? 'now' : `${formatMs(silence)} ago`}`,
                this.#tap && `wire ${formatBytes(this.#tap.bytes)}`,
            ]
                .filter(Boolean)
                .join(' · '),
        );
        this.#facts.classList.toggle('is-bad', ledger.lost + duplicated > 0);
    }

    /** @param {Entry | null} entry */
    #show(entry) {
        this.#detail.hidden = !entry;
        if (!entry) return;
        const code = /** @type {HTMLElement} */ (this.#json.firstElementChild);
        setText(code, `${JSON.stringify(entry.data, null, 2)}\n\n${wireOf(entry)}`);
        this.#json.scrollTop = 0;
    }

    // ---- what its buttons do -----------------------------------------------------------

    /** @param {boolean} paused */
    #setPaused(paused) {
        this.#paused = paused;
        this.#pause.setAttribute('aria-pressed', String(paused));
        setText(this.#pause, paused ? 'Go on' : 'Pause');
        this.#shown = paused ? this.#shown : '';
        this.#look();
    }

    #clear() {
        if (this.tab === 'wire') this.#tap?.clear();
        else this.#conversation?.trace.clear();
        this.#matches = new Matches();
        this.#events.unselect();
        this.#shown = '';
        this.#look();
    }

    #export() {
        const filter = this.#filter.value.trim().toLowerCase();
        const trace = this.#conversation?.trace;
        const list =
            this.tab === 'wire'
                ? linesOf(this.#tap?.lines ?? [], filter)
                : this.#matches.of(trace?.entries ?? [], filter);
        const blob = new Blob([JSON.stringify(list, null, 1)], { type: 'application/json' });
        const link = h('a', {
            download: `threadcast-${this.#conversation?.threadId ?? ''}-${this.tab}.json`,
        });
        link.href = URL.createObjectURL(blob);
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    }

    /** @param {KeyboardEvent} event */
    #onTabKey(event) {
        if (!['ArrowLeft', 'ArrowRight'].includes(event.key)) return;
        event.preventDefault();
        const to = this.tab === 'events' ? 'wire' : 'events';
        this.#onTab(to);
        this.#tabs[to].focus();
    }
}

/** The entries that a filter leaves, without looking at any of them twice. */
class Matches {
    #filter = '';
    /** @type {Entry[]} */
    #found = [];
    /** the serial up to which was looked */
    #seen = 0;

    /** @param {readonly Entry[]} entries @param {string} filter */
    of(entries, filter) {
        if (!filter) return entries;
        const first = entries[0]?.serial ?? 0;
        if (filter !== this.#filter || (this.#found[0]?.serial ?? first) < first) {
            this.#filter = filter;
            this.#found = [];
            this.#seen = 0;
        }
        const from = Math.max(0, this.#seen - first + 1);
        for (let i = from; i < entries.length; i++) {
            if (wordsOf(entries[i]).includes(filter)) this.#found.push(entries[i]);
        }
        this.#seen = entries.at(-1)?.serial ?? 0;
        return this.#found;
    }
}

/** @param {Entry} entry */
function wordsOf({ kind, type, id, mark, data }) {
    return `${kind} ${type} ${id} ${mark} ${JSON.stringify(data)}`.toLowerCase();
}

/** @param {readonly Line[]} lines @param {string} filter */
function linesOf(lines, filter) {
    return filter ? lines.filter(({ text }) => text.toLowerCase().includes(filter)) : lines;
}

/** @param {string} words @param {(event: any) => void} onclick @param {string} [title] */
function toolButton(words, onclick, title) {
    return h(
        'button',
        { class: 'tool small', type: 'button', onclick, title },
        h('span', {}, words),
    );
}

/** @param {string} words @param {() => void} onclick */
function tabButton(words, onclick) {
    return h(
        'button',
        { class: 'tab', type: 'button', role: 'tab', 'aria-controls': 'inspector-list', onclick },
        words,
    );
}
