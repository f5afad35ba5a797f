// A reporter of node:test for controls.test.mjs: one line of JSON for each test that ran.
// It tells what the summary does not: whether the test itself failed, and with which words.

/** @param {AsyncIterable<any>} events */
export default async function* (events) {
    for await (const { type, data } of events) {
        if (type !== 'test:pass' && type !== 'test:fail' || data.skip) continue;
        const { error } = data.details;
        const cause = error?.cause ?? error;
        yield `${JSON.stringify({ name: data.name, passed: type === 'test:pass', kind: error?.failureType,
                                  message: String(cause?.message ?? cause ?? '') })}\n`;
    }
}
