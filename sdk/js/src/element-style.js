// How <threadcast-thread> looks, unless its page says otherwise by its parts and properties.
// A constructed style sheet: a page's policy for styles does not stand in its way.

export const STYLE = `
:host {
    color-scheme: light dark;
    --_text: var(--threadcast-text, light-dark(#1b1c1f, #ececec));
    --_quiet: var(--threadcast-quiet, light-dark(#595c63, #a9acb3));
    --_back: var(--threadcast-background, light-dark(#ffffff, #17181b));
    --_raised: var(--threadcast-raised, light-dark(#eef0f3, #26282d));
    --_line: var(--threadcast-line, light-dark(#c9ccd2, #44474e));
    --_accent: var(--threadcast-accent, light-dark(#1f5fbf, #8ab6ff));
    --_on-accent: var(--threadcast-on-accent, light-dark(#ffffff, #10131a));
    --_error: var(--threadcast-error, light-dark(#a3231c, #ff9a92));
    display: flex;
    flex-direction: column;
    block-size: 32rem;
    min-block-size: 0;
    color: var(--_text);
    background: var(--_back);
    font: var(--threadcast-font, 1rem/1.5 system-ui, sans-serif);
    border: 1px solid var(--_line);
    border-radius: var(--threadcast-radius, 0.75rem);
    overflow: hidden;
}
:host([hidden]), [hidden] { display: none !important; }
* { box-sizing: border-box; }
.log {
    flex: 1;
    min-block-size: 0;
    overflow: auto;
    padding: 1rem;
    overscroll-behavior: contain;
}
.log:focus-visible, button:focus-visible, textarea:focus-visible, summary:focus-visible {
    outline: 2px solid var(--_accent);
    outline-offset: -2px;
}
.block { content-visibility: auto; contain-intrinsic-size: auto 200rem; }
.message { padding-block-end: 1rem; }
.user { inline-size: fit-content; max-inline-size: 85%; margin-inline-start: auto; margin-block-end: 1rem;
    padding: 0.5rem 0.85rem; border-radius: 0.85rem; background: var(--_raised); }
.label { margin: 0; font-size: 0.85rem; font-weight: 600; color: var(--_quiet); }
.text:empty { display: none; }
.text { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.note { font-size: 0.85rem; color: var(--_quiet); }
.error { margin: 0.25rem 0 0; color: var(--_error); }
details { margin-block: 0.25rem; font-size: 0.875rem; color: var(--_quiet); }
summary { cursor: pointer; border-radius: 0.25rem; }
ol { margin: 0.25rem 0; padding-inline-start: 1.25rem; }
li { overflow-wrap: anywhere; white-space: pre-wrap; }
.state { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; margin: 0;
    padding: 0.4rem 1rem; font-size: 0.875rem; background: var(--_raised); border-block-start: 1px solid var(--_line); }
.state.failed > span { color: var(--_error); }
form { display: flex; gap: 0.5rem; align-items: end; padding: 0.75rem; border-block-start: 1px solid var(--_line); }
textarea { flex: 1; min-inline-size: 0; resize: none; font: inherit; color: inherit; background: var(--_back);
    padding: 0.4rem 0.6rem; border: 1px solid var(--_quiet); border-radius: 0.5rem; field-sizing: content; max-block-size: 10rem; }
button { font: inherit; font-size: 0.9rem; padding: 0.4rem 0.8rem; border-radius: 0.5rem; cursor: pointer;
    color: var(--_text); background: var(--_back); border: 1px solid var(--_quiet); }
button.send { color: var(--_on-accent); background: var(--_accent); border-color: transparent; }
.unseen { position: absolute; inline-size: 1px; block-size: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;

/** @type {CSSStyleSheet | undefined} */
let sheet;

/** @param {ShadowRoot} root */
export function dress(root) {
    if (!sheet) {
        sheet = new CSSStyleSheet();
        sheet.replaceSync(STYLE);
    }
    root.adoptedStyleSheets = [sheet];
}
