// @ts-check
// Makes an element look like a newer rendering of itself: text and attributes change in place, nothing else is touched.
// Kept as they are: focus, typed input, scroll, open <details>, marks that scripts set, and all of [data-live-ignore].
// Children are matched by id or data-key, else by position and tag. Never parses text: both sides are trees already.

/** Classes that scripts set and the server does not know. */
const SCRIPT_CLASSES = ["cursor", "near"];

/** @param {Node} node */
const keyOf = (node) => (node instanceof Element ? node.id || node.getAttribute("data-key") || "" : "");

/** What a script put there is the script's to take away. @param {Node} node */
const isScripts = (node) => node instanceof Element && node.hasAttribute("data-live-own");

/** @param {Node} a @param {Node} b */
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

/**
 * @param {Element} from the element on the page
 * @param {Element} to its newer rendering, from another document
 */
function attributes(from, to) {
  const kept = new Set((from.getAttribute("data-live-keep") || "").split(" "));
  if (from.localName === "details" || from.localName === "dialog") kept.add("open");
  if (from.hasAttribute("popover") || from.classList.contains("menu")) for (const name of ["hidden", "style"]) kept.add(name);
  for (const { name, value } of to.attributes) {
    if (kept.has(name) || from.getAttribute(name) === value) continue;
    if (name === "class") {
      const own = SCRIPT_CLASSES.filter((word) => from.classList.contains(word) && !to.classList.contains(word));
      const wanted = [value, ...own].join(" ").trim();
      if (from.getAttribute("class") !== wanted) from.setAttribute("class", wanted);
    } else {
      from.setAttribute(name, value);
    }
  }
  for (const { name } of [...from.attributes]) {
    if (to.hasAttribute(name) || kept.has(name)) continue;
    if (name === "class") {
      const own = SCRIPT_CLASSES.filter((word) => from.classList.contains(word));
      if (own.length) {
        from.setAttribute("class", own.join(" "));
        continue;
      }
    }
    from.removeAttribute(name);
  }
}

/** @param {Node} parent @param {Node} node @param {Node | null} before */
function place(parent, node, before) {
  // moveBefore keeps focus and running animations where the browser has it.
  const mover = /** @type {any} */ (parent);
  if (node.parentNode === parent && typeof mover.moveBefore === "function") mover.moveBefore(node, before);
  else parent.insertBefore(node, before);
}

/**
 * Rows may not move: only what is on both sides changes.
 * @param {Element} from @param {Element} to @returns {number} how many keyed children wait to come in
 */
function heldChildren(from, to) {
  const old = [...from.childNodes];
  const next = [...to.childNodes];
  if (![...old, ...next].some(keyOf)) {
    if (old.length !== next.length || old.some((node, index) => !alike(node, next[index]))) return 0;
    return old.reduce((sum, node, index) => sum + morphNode(node, next[index], true), 0);
  }
  const mine = new Map(old.filter(keyOf).map((node) => [keyOf(node), node]));
  let waiting = 0;
  for (const node of next) {
    const key = keyOf(node);
    if (!key) continue;
    const match = mine.get(key);
    if (match && match.nodeName === node.nodeName) waiting += morphNode(match, node, true);
    else waiting += 1;
  }
  return waiting;
}

/** @param {Element} from @param {Element} to */
function children(from, to) {
  const wanted = new Set([...to.childNodes].map(keyOf).filter(Boolean));
  const mine = new Map([...from.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
  let cursor = from.firstChild;
  const drop = () => {
    while (cursor && keyOf(cursor) && !wanted.has(keyOf(cursor))) {
      const next = cursor.nextSibling;
      cursor.remove();
      cursor = next;
    }
  };
  for (const node of [...to.childNodes]) {
    drop();
    const key = keyOf(node);
    /** @type {ChildNode | null | undefined} */
    let match = null;
    if (key) {
      match = /** @type {ChildNode | undefined} */ (mine.get(key));
      if (match && match.nodeName !== node.nodeName) match = null;
    } else {
      for (let look = cursor; look; look = look.nextSibling) {
        if (keyOf(look) || isScripts(look)) continue;
        if (alike(look, node)) match = look;
        break;
      }
    }
    if (!match) {
      from.insertBefore(document.importNode(node, true), cursor);
      continue;
    }
    if (match === cursor) cursor = cursor.nextSibling;
    else place(from, match, cursor);
    morphNode(match, node, false);
  }
  while (cursor) {
    const next = cursor.nextSibling;
    if (!isScripts(cursor)) cursor.remove();
    cursor = next;
  }
}

/** @param {Node} from @param {Node} to @param {boolean} held @returns {number} */
function morphNode(from, to, held) {
  if (!(from instanceof Element) || !(to instanceof Element)) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return 0;
  }
  return morph(from, to, held);
}

/**
 * @param {Element} from the element on the page
 * @param {Element} to its newer rendering
 * @param {boolean} [held] rows stay where they are; what is new waits
 * @returns {number} how many new rows wait
 */
export function morph(from, to, held = false) {
  if (from.hasAttribute("data-live-ignore") || from.isEqualNode(to)) return 0;
  attributes(from, to);
  const typing = from === document.activeElement && from.matches("input, textarea, select, [contenteditable]");
  if (typing || from.localName === "textarea") return 0;
  if (held) return heldChildren(from, to);
  children(from, to);
  return 0;
}
