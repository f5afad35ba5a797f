// Tabs that are hidden and frozen, as Chromium does it to those that nobody looks at.

/** Pages whose focus is no longer pretended. @type {WeakSet<object>} */
const honest = new WeakSet();

/**
 * Playwright pretends that every page has the focus, which keeps it visible, and what is visible
 * is never frozen: that is taken back in its own session, where it was said.
 * @param {import('playwright-core').Page} page
 * @param {'frozen' | 'active'} state `active`: thawed, and still hidden
 */
export async function setLifecycle(page, state) {
    if (!honest.has(page)) {
        const inner = /** @type {any} */ (page)._connection.toImpl(page).delegate;
        await inner._mainFrameSession._client.send('Emulation.setFocusEmulationEnabled', { enabled: false });
        honest.add(page);
    }
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('Page.setWebLifecycleState', { state });
    await cdp.detach();
}
