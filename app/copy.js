// Copying text. The clipboard of `navigator` is for secure pages only (https, localhost);
// on plain http the old way still works.

/**
 * @param {string} text
 * @returns {Promise<boolean>} false: the browser did not let us
 */
export async function copyText(text) {
    try {
        await navigator.clipboard.writeText(text);
        return true;
    } catch {
        return copyTheOldWay(text);
    }
}

/** @param {string} text */
function copyTheOldWay(text) {
    const before = document.activeElement;
    const area = document.createElement('textarea');
    area.value = text;
    area.setAttribute('readonly', '');
    area.className = 'unseen';
    document.body.append(area);
    area.select();
    const copied = document.execCommand('copy');
    area.remove();
    if (before instanceof HTMLElement) before.focus();
    return copied;
}

/**
 * Says on the button for a moment that it is done.
 * @param {HTMLElement} button with a label in a `span`
 * @param {string} text
 */
export async function copyFrom(button, text) {
    const label = button.querySelector('span') ?? button;
    const words = button.dataset.words ?? label.textContent ?? '';
    button.dataset.words = words;
    label.textContent = (await copyText(text)) ? 'Copied' : 'Not allowed';
    setTimeout(() => (label.textContent = words), 1_500);
}
