// What a stream that has failed is thrown as, where it is iterated.

export class ThreadcastError extends Error {}

/** The bridge refuses and will go on refusing. */
export class Refused extends ThreadcastError {
    name = 'Refused';

    /** @param {string} message @param {number} status @param {string} code stable; `refused`: none */
    constructor(message, status = 0, code = '') {
        super(message);
        this.status = status;
        this.code = code;
    }
}

/** There was no stream for `giveUpMs`. */
export class Unavailable extends ThreadcastError {
    name = 'Unavailable';
}
