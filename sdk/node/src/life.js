// Life: the sign of life of one run. A key in Redis that expires after a lease unless the
// run's sender sets it again, which it does before the run begins, after every reconnect,
// and every third of the lease. When the key is gone a bridge ends the run (`worker_lost`).
//
// A run has a key of its own, and its sender sets it: so a run that nobody publishes any
// more is noticed, also when other runs of the same process go on.

import { randomBytes } from 'node:crypto';
import { delays, instance } from './link.js';

export class Life {
    worker = `sdk:${instance()}-${randomBytes(6).toString('hex')}`;
    /** when the key has to be set, on the monotonic clock */
    due = 0;
    #leaseMs;
    #pauses = delays();

    /** @param {string} prefix @param {number} leaseMs */
    constructor(prefix, leaseMs) {
        this.key = `${prefix}threadcast:worker:${this.worker}`;
        this.#leaseMs = leaseMs;
    }

    /** @returns {(string | number)[]} */
    beat() {
        return ['SET', this.key, '1', 'PX', this.#leaseMs];
    }

    end() {
        return ['DEL', this.key];
    }

    /** It was set by a command sent at `at`. @param {number} at */
    beaten(at) {
        this.due = at + this.#leaseMs / 3;
        this.#pauses = delays();
    }

    /** Redis is away: tried again, for as long as that takes. @param {number} at */
    missed(at) {
        this.due = at + this.#pauses.next().value;
    }
}
