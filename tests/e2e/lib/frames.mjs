// Is a page smooth? Counts, in Chromium, the time from one frame to the next and what held the
// page up (long tasks, layout and script as the browser itself adds them up):
//
//     const frames = await Frames.start(page);
//     … the page works …
//     console.log(describe(await frames.stop()));
//
// A browser without a screen draws 60 frames a second when it can. What is measured depends on
// the machine: print it, and assert only what holds on a slow and busy one.

/**
 * @typedef {object} FrameReport milliseconds, where nothing else is said
 * @property {number} seconds
 * @property {number} frames
 * @property {number} p50 from one frame to the next
 * @property {number} p95
 * @property {number} p99
 * @property {number} max
 * @property {number} longTasks those above 50 ms
 * @property {number} longest
 * @property {number} script
 * @property {number} layout with styles
 * @property {number} busy share of the time in which the page's thread worked, 0 to 1
 * @property {number} heapMB at the end
 * @property {number} nodes in the document, at the end
 */

export class Frames {
    /** @param {import('playwright-core').Page} page @param {import('playwright-core').CDPSession} session @param {Record<string, number>} before */
    constructor(page, session, before) {
        this.page = page;
        this.session = session;
        this.before = before;
    }

    /** @param {import('playwright-core').Page} page */
    static async start(page) {
        const session = await page.context().newCDPSession(page);
        await session.send('Performance.enable');
        await page.evaluate(() => {
            const seen = { gaps: /** @type {number[]} */ ([]), tasks: /** @type {number[]} */ ([]), stop: () => {} };
            const observer = new PerformanceObserver((list) => {
                for (const { duration } of list.getEntries()) seen.tasks.push(duration);
            });
            observer.observe({ type: 'longtask' });
            let last = performance.now();
            let frame = requestAnimationFrame(function next() {
                const now = performance.now();
                seen.gaps.push(now - last);
                last = now;
                frame = requestAnimationFrame(next);
            });
            seen.stop = () => {
                cancelAnimationFrame(frame);
                observer.disconnect();
            };
            /** @type {any} */ (globalThis).framesSeen = seen;
        });
        return new Frames(page, session, await metricsOf(session));
    }

    /** @returns {Promise<FrameReport>} */
    async stop() {
        const after = await metricsOf(this.session);
        const { gaps, tasks } = await this.page.evaluate(() => {
            const seen = /** @type {any} */ (globalThis).framesSeen;
            seen.stop();
            return { gaps: seen.gaps, tasks: seen.tasks };
        });
        await this.session.detach();
        const spent = (/** @type {string} */ name) => (after[name] - this.before[name]) * 1000;
        gaps.sort((/** @type {number} */ a, /** @type {number} */ b) => a - b);
        const at = (/** @type {number} */ share) => gaps[Math.min(gaps.length - 1, Math.floor(gaps.length * share))] ?? 0;
        return {
            seconds: after.Timestamp - this.before.Timestamp,
            frames: gaps.length,
            p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1),
            longTasks: tasks.length,
            longest: Math.max(0, ...tasks),
            script: spent('ScriptDuration'),
            layout: spent('LayoutDuration') + spent('RecalcStyleDuration'),
            busy: spent('TaskDuration') / spent('Timestamp'),
            heapMB: after.JSHeapUsedSize / 1e6,
            nodes: after.Nodes,
        };
    }
}

/** @param {import('playwright-core').CDPSession} session */
async function metricsOf(session) {
    const { metrics } = await session.send('Performance.getMetrics');
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
}

/** One line. @param {FrameReport} report */
export function describe(report) {
    const ms = (/** @type {number} */ value) => `${value.toFixed(1)} ms`;
    return `${report.frames} frames in ${report.seconds.toFixed(1)} s: p50 ${ms(report.p50)}, p95 ${ms(report.p95)}, ` +
        `p99 ${ms(report.p99)}, max ${ms(report.max)}; ${report.longTasks} long tasks, the longest ${ms(report.longest)}; ` +
        `busy ${(report.busy * 100).toFixed(0)} % (script ${ms(report.script)}, layout ${ms(report.layout)}); ` +
        `${report.heapMB.toFixed(1)} MB, ${report.nodes} nodes`;
}
