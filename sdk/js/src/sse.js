// Characters of an event stream, cut anywhere, into blocks, as the HTML standard says. What
// stands behind the last blank line is never told: it comes again on the next connection.

/** An event has 256 KiB at most; a stream that brings more is not one of ours. */
const BLOCK_MAX_CHARS = 1 << 20;

/**
 * Takes pieces of a stream, one after the other. Throws when a block does not end.
 * @param {(name: string, data: string, id: string) => void} block `id`: the last one given,
 *     by this block or one before
 * @param {(ms: number) => void} retry
 * @returns {(chunk: string) => void}
 */
export function sseParser(block, retry) {
    let rest = '', name = '', id = '', size = 0;
    /** @type {string[]} */
    let data = [];

    /** @param {string} line */
    const take = (line) => {
        if (!line) {
            if (data.length) block(name, data.join('\n'), id);
            name = '';
            data = [];
            size = 0;
            return;
        }
        const [, field, value] = /** @type {RegExpExecArray} */ (/^([^:]*)(?:: ?)?([^]*)$/.exec(line));
        size += line.length;
        if (field === 'data') data.push(value);
        else if (field === 'event') name = value;
        else if (field === 'id' && !value.includes('\0')) id = value;
        else if (field === 'retry' && /^\d{1,9}$/.test(value)) retry(+value);
    };

    return (chunk) => {
        const lines = (rest + chunk).split(/\r\n|\n|\r(?!$)/); // half a line end waits for the other half
        rest = /** @type {string} */ (lines.pop());
        for (const line of lines) take(line);
        if (size + rest.length > BLOCK_MAX_CHARS) throw new Error('an event without an end');
    };
}
