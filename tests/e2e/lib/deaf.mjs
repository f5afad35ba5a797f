// deaf.py, started and stopped: a TCP proxy whose host can be made to be gone.

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from './process.mjs';

export class Deaf {
    /** @param {Child} child @param {number} port */
    constructor(child, port) {
        this.child = child;
        this.port = port;
    }

    /** @param {string} target a port of this machine, or the path of a socket */
    static async start(target) {
        const child = new Child('deaf', 'python3', [path.join(path.dirname(fileURLToPath(import.meta.url)), 'deaf.py'), target]);
        return new Deaf(child, Number((await child.line(/listening (\d+)/))[1]));
    }

    /** Who is connected now hears nothing any more, not even a reset: the host is gone. */
    async goDeaf() {
        return this.#leave('SIGUSR1');
    }

    /** What they send is acknowledged, and nobody reads it. */
    async goMute() {
        return this.#leave('SIGUSR2');
    }

    /** @param {NodeJS.Signals} signal */
    async #leave(signal) {
        const from = this.child.output.length;
        this.child.kill(signal);
        return Number((await this.child.line(/gone (\d+)/, { from }))[1]);
    }

    async stop() {
        if (this.child.running) await this.child.stop('SIGKILL');
    }
}
