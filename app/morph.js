// Makes an element look like another one, changing as little as it can: a paragraph that
// has grown keeps its nodes, so a selection, the focus and the place that a wide table was
// scrolled to stay where they are. For elements without state or listeners of their own.

/**
 * @param {Element} old
 * @param {Element} wanted is taken apart
 * @returns {Element} what stands in the page now
 */
export function morph(old, wanted) {
    if (old.tagName !== wanted.tagName) {
        old.replaceWith(wanted);
        return wanted;
    }
    morphAttributes(old, wanted);
    morphChildren(old, wanted);
    return old;
}

/** @param {Element} old @param {Element} wanted */
function morphAttributes(old, wanted) {
    for (const { name } of [...old.attributes]) {
        if (!wanted.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of wanted.attributes) {
        if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
}

/** @param {Element} old @param {Element} wanted */
function morphChildren(old, wanted) {
    let at = old.firstChild;
    for (const node of [...wanted.childNodes]) {
        const next = at?.nextSibling ?? null;
        if (!at) old.append(node);
        else if (at instanceof Element && node instanceof Element) morph(at, node);
        else if (at instanceof Text && node instanceof Text) setData(at, node.data);
        else at.replaceWith(node);
        at = next;
    }
    while (at) {
        const next = at.nextSibling;
        at.remove();
        at = next;
    }
}

/** Text that has grown is added to: what is selected stays selected. @param {Text} node @param {string} text */
function setData(node, text) {
    const { data } = node;
    if (data === text) return;
    if (text.startsWith(data)) node.appendData(text.slice(data.length));
    else node.data = text;
}
