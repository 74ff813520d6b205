// @ts-check
// What every page's frame does: menus, dialogs, theme, copy, toasts, tabs, keys. No page needs it to be readable.
//
//   <button data-menu="m-user">      opens the menu of that id        <button data-open="help">  opens that dialog
//   <button data-close>              closes its dialog                <button data-copy="text">  copies (or its codebox)
//   <input data-filter>              where "/" goes                   <a data-range="back">      where "[" and "]" go
//   <div role="tablist"> with <button role="tab" aria-controls="…">   switches panels
//   a <dialog> that htmx puts into #dialog is opened; `HX-Trigger: {"ef:toast": {"title": …}}` shows a toast;
//   a new [data-incident] anywhere (data-title, data-detail, data-severity or data-kind, data-href) is told as a toast once.

import { togglePause } from "./live.js";

/** @template {Element} T @param {string} selector @param {ParentNode} [root] @returns {T | null} */
export const one = (selector, root = document) => root.querySelector(selector);
/** @param {string} selector @param {ParentNode} [root] @returns {HTMLElement[]} */
export const all = (selector, root = document) => [.../** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll(selector))];

/* ---------- marks ---------- */

const SVG = "http://www.w3.org/2000/svg";
/** @param {string} cls @param {string} ref */
function use(cls, ref) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", cls);
  svg.setAttribute("aria-hidden", "true");
  const inner = document.createElementNS(SVG, "use");
  inner.setAttribute("href", ref);
  svg.append(inner);
  return svg;
}
/** @param {string} name @param {string} [extra] */
export const icon = (name, extra = "") => use(`i ${extra}`.trim(), `#i-${name}`);
/** @param {string} name @param {string} [extra] */
export const glyph = (name, extra = "") => use(`g ${extra}`.trim(), `#g-${name}`);

/* ---------- theme ---------- */

const THEMES = ["system", "light", "dark"];
const root = document.documentElement;
const paintTheme = () => all("[data-theme-text]").forEach((node) => (node.textContent = root.dataset.theme || "system"));
export function nextTheme() {
  const next = THEMES[(THEMES.indexOf(root.dataset.theme || "system") + 1) % THEMES.length];
  if (next === "system") delete root.dataset.theme;
  else root.dataset.theme = next;
  try {
    if (next === "system") localStorage.removeItem("ef-theme");
    else localStorage.setItem("ef-theme", next);
  } catch {
    /* storage is blocked: it holds for this page */
  }
  paintTheme();
  document.dispatchEvent(new CustomEvent("ef:theme"));
}

/* ---------- toasts ---------- */

/**
 * @param {string} title
 * @param {{text?: string, kind?: string, ms?: number, href?: string, linkText?: string}} [more] kind: ok, warn, crit, run; ms 0 stays
 */
export function toast(title, { text = "", kind = "ok", ms = 6000, href = "", linkText = "Open" } = {}) {
  const box = one("#toasts");
  const card = document.createElement("div");
  card.className = `toast ${kind}`;
  const body = document.createElement("div");
  const head = document.createElement("b");
  head.textContent = title;
  body.append(head);
  if (text || href) {
    const line = document.createElement("p");
    line.textContent = text ? `${text} ` : "";
    if (href) {
      const link = document.createElement("a");
      link.href = href;
      link.textContent = linkText;
      line.append(link);
    }
    body.append(line);
  }
  const close = document.createElement("button");
  close.type = "button";
  close.className = "copy";
  close.setAttribute("aria-label", "Dismiss");
  close.append(icon("x", "sm"));
  const gone = () => {
    card.remove();
    if (box instanceof HTMLElement && !box.childElementCount && box.matches(":popover-open")) box.hidePopover();
  };
  close.addEventListener("click", gone);
  card.append(glyph(kind), body, close);
  if (box instanceof HTMLElement) {
    box.append(card);
    // Opened anew, so that it lies above a dialog opened meanwhile.
    if (box.matches(":popover-open")) box.hidePopover();
    box.showPopover();
  }
  if (ms) setTimeout(gone, ms);
  return card;
}
document.addEventListener("ef:toast", (event) => {
  const { title = "", ...more } = /** @type {CustomEvent} */ (event).detail || {};
  toast(title, more);
});

const told = new Set(all("[data-incident]").map((node) => node.dataset.incident));
document.addEventListener("ef:refreshed", () => {
  for (const node of all("[data-incident]")) {
    if (told.has(node.dataset.incident)) continue;
    told.add(node.dataset.incident);
    const kind = node.dataset.kind || (node.dataset.severity === "warning" ? "warn" : "crit");
    toast(node.dataset.title || node.textContent?.trim() || "", { text: node.dataset.detail, kind, ms: 12_000, href: node.dataset.href });
  }
});

/* ---------- copy ---------- */

document.addEventListener(
  "click",
  (event) => {
    const button = event.target instanceof Element && event.target.closest("[data-copy]");
    if (!(button instanceof HTMLElement)) return;
    event.preventDefault();
    event.stopPropagation();
    const text = button.dataset.copy || button.closest(".codebox")?.querySelector(".code")?.textContent || "";
    navigator.clipboard?.writeText(text.trim()).catch(() => toast("Not copied", { text: "The browser did not allow it.", kind: "warn" }));
    const mark = button.querySelector("use");
    const old = mark?.getAttribute("href") || "";
    if (old === "#i-check") return;
    button.classList.add("done");
    mark?.setAttribute("href", "#i-check");
    setTimeout(() => {
      button.classList.remove("done");
      mark?.setAttribute("href", old);
    }, 1200);
  },
  true,
);

/* ---------- menus ---------- */

/** @type {HTMLElement | null} */
let menu = null;
/** @type {HTMLElement | null} */
let opener = null;
const items = () => (menu ? all("a, button, input", menu) : []);

/** @param {boolean} [refocus] */
export function closeMenu(refocus = true) {
  if (!menu) return;
  menu.hidden = true;
  opener?.setAttribute("aria-expanded", "false");
  if (refocus) opener?.focus();
  menu = opener = null;
}

/** @param {HTMLElement} button */
function openMenu(button) {
  const wanted = document.getElementById(button.dataset.menu || "");
  const same = wanted === menu;
  closeMenu();
  if (!wanted || same) return;
  menu = wanted;
  opener = button;
  menu.hidden = false;
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  menu.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
  menu.style.top = `${at.bottom + 4 + height > innerHeight ? Math.max(8, at.top - height - 4) : at.bottom + 4}px`;
  button.setAttribute("aria-expanded", "true");
  items()[0]?.focus();
}

/* ---------- dialogs ---------- */

/** Opens a <dialog> by id; focus returns to where it was when it closes. @param {string | HTMLElement | null} wanted */
export function openDialog(wanted) {
  const dialog = typeof wanted === "string" ? document.getElementById(wanted) : wanted;
  if (!(dialog instanceof HTMLDialogElement) || dialog.open) return;
  closeMenu(false);
  dialog.showModal();
  dialog.dispatchEvent(new CustomEvent("ef:opened", { bubbles: true }));
}
document.addEventListener("htmx:afterSwap", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.id === "dialog") openDialog(one("dialog", target));
});

/* ---------- tabs ---------- */

/** @param {HTMLElement} tab */
export function showTab(tab) {
  const list = tab.closest("[role=tablist]");
  if (!list) return;
  for (const other of all("[role=tab]", list)) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    const panel = document.getElementById(other.getAttribute("aria-controls") || "");
    if (panel) panel.hidden = !chosen;
  }
  tab.dispatchEvent(new CustomEvent("ef:tab", { bubbles: true, detail: { tab } }));
}

document.addEventListener("click", (event) => {
  const target = event.target;
  if (!(target instanceof Element)) return;
  const button = target.closest("[data-menu]");
  if (button instanceof HTMLElement) return openMenu(button);
  if (menu && !menu.contains(target)) closeMenu(false);
  else if (menu && target.closest("a, button") && !target.closest("[data-theme-next]")) closeMenu(false);
  const open = target.closest("[data-open]");
  if (open instanceof HTMLElement) openDialog(open.dataset.open || "");
  if (target.closest("[data-close]")) target.closest("dialog")?.close();
  if (target.closest("[data-theme-next]")) nextTheme();
  const tab = target.closest("[role=tab][aria-controls]");
  if (tab instanceof HTMLElement) showTab(tab);
  // A click on the backdrop lands on the dialog itself.
  if (target instanceof HTMLDialogElement && !target.hasAttribute("data-modal")) target.close();
});

/* ---------- keys ---------- */

/** @type {Map<string, (event: KeyboardEvent) => void>} */
const keys = new Map();
/**
 * Registers a single key for this page; returns what takes it back. Off while typing or in a dialog.
 * @param {string} key as KeyboardEvent.key has it @param {(event: KeyboardEvent) => void} action
 */
export function onKey(key, action) {
  keys.set(key, action);
  return () => {
    if (keys.get(key) === action) keys.delete(key);
  };
}

let goSince = 0;
/** @param {KeyboardEvent} event */
function single(event) {
  const { key } = event;
  if (goSince && Date.now() - goSince < 1200) {
    goSince = 0;
    const link = all(".rail a[data-key]").find((node) => node.dataset.key === key);
    if (link instanceof HTMLAnchorElement) return location.assign(link.href);
  }
  goSince = 0;
  if (key === "g") {
    goSince = Date.now();
    return undefined;
  }
  if (key === "?") return openDialog("help");
  if (key === "p") return togglePause();
  if (key === "/") {
    event.preventDefault();
    const filter = all("[data-filter]").find((node) => node.checkVisibility?.() ?? true);
    return filter ? filter.focus() : openDialog("cmdk");
  }
  if (key === "[" || key === "]") {
    const step = one(`[data-range="${key === "[" ? "back" : "forward"}"]`);
    if (step instanceof HTMLElement) return step.click();
  }
  return keys.get(key)?.(event);
}

/** @param {KeyboardEvent} event @param {HTMLElement[]} list @param {string} next @param {string} before */
function walk(event, list, next, before) {
  if ((event.key !== next && event.key !== before) || !list.length) return null;
  event.preventDefault();
  const at = list.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const to = list[(at + (event.key === next ? 1 : list.length - 1)) % list.length];
  to.focus();
  return to;
}

document.addEventListener("keydown", (event) => {
  const target = /** @type {Element} */ (event.target);
  if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    return openDialog("cmdk");
  }
  if (menu && event.key === "Escape") return closeMenu();
  if (menu && event.key === "Tab") return closeMenu(false);
  if (menu && walk(event, items(), "ArrowDown", "ArrowUp")) return undefined;
  const list = target.closest?.("[role=tablist]");
  if (list && target.matches("[role=tab][aria-controls]")) {
    const tab = walk(event, all("[role=tab]", list), "ArrowRight", "ArrowLeft");
    if (tab) return showTab(tab);
  }
  if (event.metaKey || event.ctrlKey || event.altKey || event.defaultPrevented || one("dialog[open]")) return undefined;
  if (target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]")) return undefined;
  return single(event);
});

/* ---------- the row cursor of a list ---------- */

/**
 * j and k move a cursor over the rows, Enter opens, a click does the same (the row's own link is the real one).
 * Survives live updates: rows are looked up anew each time. Returns what removes it.
 * @param {HTMLElement} body a tbody @param {{open?: (row: HTMLElement) => void, move?: (row: HTMLElement) => void}} [actions]
 */
export function rows(body, { open, move } = {}) {
  const list = () => all(":scope > tr:not([hidden])", body);
  const follow = (/** @type {HTMLElement} */ row) => (open ? open(row) : /** @type {HTMLElement | null} */ (one("a.cell, a", row))?.click());
  const go = (/** @type {number} */ to) => {
    const now = list();
    if (!now.length) return;
    const at = Math.max(0, Math.min(now.length - 1, to));
    now.forEach((row, index) => row.classList.toggle("cursor", index === at));
    now[at].scrollIntoView({ block: "nearest" });
    move?.(now[at]);
  };
  const at = () => list().findIndex((row) => row.classList.contains("cursor"));
  const click = (/** @type {MouseEvent} */ event) => {
    const target = /** @type {Element} */ (event.target);
    const row = target.closest("tr");
    if (!row || target.closest("a, button, input, label, summary")) return;
    go(list().indexOf(row));
    follow(row);
  };
  body.addEventListener("click", click);
  const off = [
    onKey("j", () => go(at() + 1)),
    onKey("k", () => go(at() - 1)),
    onKey("Enter", (event) => {
      const row = list()[at()];
      if (row && !(/** @type {Element} */ (event.target).closest("a, button, summary"))) follow(row);
    }),
  ];
  return () => {
    body.removeEventListener("click", click);
    off.forEach((undo) => undo());
  };
}

paintTheme();
for (const node of all("[data-toast]")) toast(node.textContent?.trim() || "", { kind: node.dataset.toast || "ok" });
