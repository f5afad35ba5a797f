// Waiting for a condition with a deadline: what tests do instead of sleeping.

/** How long to wait when a test does not say otherwise. */
export const PATIENCE_MS = Number(process.env.THREADCAST_PATIENCE_MS ?? 20_000);

const EVERY_MS = 10;

/** @param {number} ms */
const tick = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Asks `condition` again and again until it answers something truthy, and answers that.
 * An exception counts as "not yet"; the last one is part of the complaint.
 * @template T
 * @param {() => T | Promise<T>} condition
 * @param {{ timeout?: number, what?: string | (() => string | Promise<string>), every?: number }} [options]
 * @returns {Promise<T>}
 */
export async function until(condition, { timeout = PATIENCE_MS, what, every = EVERY_MS } = {}) {
    const deadline = performance.now() + timeout;
    let trouble;
    for (;;) {
        try {
            const answer = await condition();
            if (answer) return answer;
            trouble = undefined;
        } catch (error) {
            trouble = error;
        }
        if (performance.now() >= deadline) {
            const text = typeof what === 'function' ? await what() : what ?? condition.toString();
            throw new Error(`not within ${timeout} ms: ${text}`, { cause: trouble });
        }
        await tick(every);
    }
}

/**
 * The promise's answer, or an exception after `timeout`.
 * @template T
 * @param {Promise<T>} promise
 * @param {number} timeout
 * @param {string} what
 * @returns {Promise<T>}
 */
export async function within(promise, timeout, what) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not within ${timeout} ms: ${what}`)), timeout);
    });
    try {
        return await Promise.race([promise, late]);
    } finally {
        clearTimeout(timer);
    }
}
