// What a stream that has failed is thrown as, where it is iterated.

export class ThreadcastError extends Error {
    /** @param {string} message */
    constructor(message) {
        super(message);
        this.name = new.target.name;
    }
}

/** The bridge refuses and will go on refusing. */
export class Refused extends ThreadcastError {
    static { Object.defineProperty(this, 'name', { value: 'Refused' }); } // also when minified

    /** @param {string} message @param {number} status @param {string} code stable; '': none */
    constructor(message, status = 0, code = '') {
        super(message);
        this.status = status;
        this.code = code;
    }
}

/** There was no stream for `giveUpMs`. */
export class Unavailable extends ThreadcastError {
    static { Object.defineProperty(this, 'name', { value: 'Unavailable' }); }
}
