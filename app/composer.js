// The prompt box. Enter sends, Shift+Enter makes a new line, and a text that is still
// being composed (Japanese, Chinese, …) is left alone.

import { byId } from './dom.js';

const MAX_BYTES = 60_000; // the server takes 64 KiB, and JSON needs some of it

export class Composer {
    #form = byId('composer', HTMLFormElement);
    #input = byId('prompt', HTMLTextAreaElement);
    #send = byId('send', HTMLButtonElement);
    #stop = byId('stop', HTMLButtonElement);
    #hint = byId('composer-hint', HTMLElement);
    #onSend;

    /**
     * @param {object} handlers
     * @param {(text: string) => void} handlers.onSend
     * @param {() => void} handlers.onStop
     */
    constructor({ onSend, onStop }) {
        this.#onSend = onSend;
        this.#form.addEventListener('submit', (event) => {
            event.preventDefault();
            this.#submit();
        });
        this.#input.addEventListener('keydown', (event) => {
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            this.#submit();
        });
        this.#input.addEventListener('input', () => this.#onInput());
        this.#stop.addEventListener('click', onStop);
        this.#onInput();
    }

    /** @param {{ running: number, stopping: boolean }} state `running`: how many answers */
    update({ running, stopping }) {
        // a focused button that disappears would take the focus with it
        if (!running && document.activeElement === this.#stop) this.focus();
        this.#stop.hidden = !running;
        this.#stop.disabled = stopping;
        const words = running > 1 ? `Stop all ${running} answers` : 'Stop the answer';
        if (running) this.#stop.setAttribute('aria-label', words);
    }

    /**
     * Ready to type; but a phone's keyboard would cover what there is to read.
     * @param {boolean} [wanted] somebody asked for it
     */
    focus(wanted = false) {
        if (wanted || matchMedia('(pointer: fine)').matches) this.#input.focus();
    }

    #submit() {
        const text = this.#input.value.trim();
        if (!text || this.#tooLong()) return;
        this.#input.value = '';
        this.#onInput();
        this.#onSend(text);
    }

    #onInput() {
        const long = this.#tooLong();
        this.#send.disabled = !this.#input.value.trim() || long;
        this.#hint.hidden = !long;
        if (long) this.#hint.textContent = 'This is longer than one message may be (60 KB).';
        this.#grow();
    }

    /** As tall as its text, where the style sheet cannot say so. */
    #grow() {
        if (CSS.supports('field-sizing', 'content')) return;
        this.#input.style.height = 'auto';
        this.#input.style.height = `${this.#input.scrollHeight}px`;
    }

    #tooLong() {
        const { value } = this.#input;
        return value.length > MAX_BYTES / 4 && new TextEncoder().encode(value).length > MAX_BYTES;
    }
}
