// What can go wrong. Arguments that make no sense are TypeError or RangeError.

/** Everything below. Events that were accepted before it may be unpublished. */
export class ThreadcastError extends Error {
    /** @param {string} message @param {ErrorOptions} [options] */
    constructor(message, options) {
        super(message, options);
        this.name = new.target.name;
    }
}

/** A higher attempt of this run has begun elsewhere: this one must stop. */
export class Fenced extends ThreadcastError {
    /** @param {number} attempt */
    constructor(attempt) {
        super(`attempt ${attempt} of this run has taken over`);
        this.attempt = attempt;
    }
}

/** The run has ended already (somebody else ended it, or its id was used before). */
export class Ended extends ThreadcastError {
    /** @param {string} id @param {string} [message] */
    constructor(id, message = `this run has ended with event ${id}`) {
        super(message);
        this.id = id;
    }
}

/**
 * The run was ended under its publisher: nothing had been heard of this process for a
 * lease (it stood still, or had no Redis), and a bridge said `worker_lost`.
 */
export class WorkerLost extends Ended {
    /** @param {string} id */
    constructor(id) {
        super(id, `this run was ended as worker_lost with event ${id}: it gave no sign of ` +
            'life for longer than leaseMs');
    }
}

/**
 * Somebody cancelled this run. Readers have got `cancelled`; what is said from now on is
 * not published.
 */
export class Cancelled extends ThreadcastError {
    /** @param {string} runId @param {ErrorOptions} [options] */
    constructor(runId, options) {
        super(`run ${runId} was cancelled`, options);
        this.runId = runId;
    }
}

/** An outside event claims a run that has a publisher of its own. */
export class Taken extends ThreadcastError {
    /** @param {string} runId */
    constructor(runId) {
        super(`run ${runId} has a publisher of its own`);
        this.runId = runId;
    }
}

/** The idempotency key was used before, for other events. */
export class Conflict extends ThreadcastError {}

/** Redis refuses and will go on refusing: rights, password, version, key types. */
export class Refused extends ThreadcastError {}

/** No answer for `giveUpMs`. Whether Redis has the events is unknown. */
export class Unavailable extends ThreadcastError {}

/** An event would be larger than 256 KiB. Nothing was published of it. */
export class EventTooLarge extends ThreadcastError {}

/**
 * Throw it inside a run to end that run with this `error` event. Its message is shown to
 * people; the text of any other exception is not.
 */
export class AgentError extends Error {
    /** @param {string} message @param {ErrorOptions & { code?: string, retryable?: boolean }} [options] */
    constructor(message, { code = 'agent_error', retryable = false, ...options } = {}) {
        super(message, options);
        this.name = 'AgentError';
        this.code = code;
        this.retryable = retryable;
    }
}
