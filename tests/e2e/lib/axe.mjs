// Accessibility of a page as it stands, by axe-core (https://github.com/dequelabs/axe-core):
//
//     await assertAccessible(page);                       // all of it
//     await assertAccessible(page, { within: '#inspector', dark: true });
//
// Shadow roots are looked into. Everything that axe calls a violation fails, best practices
// included; each is told with its rule, the elements and what to do.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';

const SOURCE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/**
 * @typedef {object} Look
 * @property {string} [within] a selector; none: the whole page
 * @property {boolean} [dark] as it is for who prefers dark colours
 * @property {string[]} [without] rules that do not apply, each with a reason where it is used
 */

/**
 * What axe has to complain about, in words.
 * @param {import('playwright-core').Page} page
 * @param {Look} [look]
 * @returns {Promise<string[]>}
 */
export async function violations(page, { within, dark, without = [] } = {}) {
    await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' });
    // by the debugger, so that a page's own policy for scripts need not allow it
    if (!(await page.evaluate('typeof axe === "object"'))) await page.evaluate(SOURCE);
    const results = await page.evaluate(async ([selector, rules]) => {
        const { axe } = /** @type {any} */ (globalThis);
        const options = { resultTypes: ['violations'], rules: Object.fromEntries(rules.map((rule) => [rule, { enabled: false }])) };
        const { violations: found, passes } = await axe.run(selector ?? document, options);
        return { found, passed: passes.length };
    }, /** @type {[string | undefined, string[]]} */ ([within, without]));
    await page.emulateMedia({ colorScheme: null });
    assert.ok(results.passed > 0, 'axe found something to look at');
    return results.found.map((/** @type {any} */ { id, impact, help, nodes }) =>
        `${id} (${impact}): ${help}\n${nodes.map((/** @type {any} */ node) =>
            `    ${node.target.flat().join(' ')}\n        ${node.failureSummary.replaceAll('\n', '\n        ')}`).join('\n')}`);
}

/** Light and dark, unless the look says which. @param {import('playwright-core').Page} page @param {Look} [look] */
export async function assertAccessible(page, look = {}) {
    for (const dark of look.dark === undefined ? [false, true] : [look.dark]) {
        const found = await violations(page, { ...look, dark });
        assert.equal(found.length, 0, `${dark ? 'dark' : 'light'}:\n${found.join('\n')}`);
    }
}
