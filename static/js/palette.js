// @ts-check
// The command palette, <ef-palette>: goes to a page, a service, a destination, a consumer group or a flow by its id.
// Asks the server for what matches (JSON, text only); an id pasted in full opens its flow at once.

import { togglePause } from "./live.js";
import { all, icon, nextTheme, openDialog } from "./shell.js";

/** @typedef {{group: string, title: string, icon: string, sub?: string, url?: string, run?: () => void, mono?: boolean}} Item */

const WAIT_MS = 90;
const MOST = 14;

/** @returns {Item[]} */
const pages = () =>
  all(".rail a[data-key]").map((link) => ({
    group: "Go to",
    title: link.querySelector("span")?.textContent || "",
    icon: (link.querySelector("use")?.getAttribute("href") || "").replace("#i-", ""),
    sub: `g ${link.dataset.key}`,
    url: link.getAttribute("href") || "",
  }));

/** A page's address, as the rail has it. @param {string} key */
const pageUrl = (key) => all(".rail a[data-key]").find((link) => link.dataset.key === key)?.getAttribute("href") || "";

/** @returns {Item[]} */
const actions = () => [
  { group: "Actions", title: "Pause or resume live updates", icon: "pause", sub: "p", run: () => togglePause() },
  { group: "Actions", title: "Switch theme", icon: "moon", run: nextTheme },
  { group: "Actions", title: "Show only unhealthy in topology", icon: "filter", url: `${pageUrl("t")}?unhealthy=1` },
  { group: "Actions", title: "Keyboard help", icon: "keyboard", sub: "?", run: () => openDialog("help") },
];

class Palette extends HTMLElement {
  /** @type {Item[]} */ #items = [];
  #at = 0;
  #asked = 0;
  /** @type {number | undefined} */ #timer;
  #stop = new AbortController();

  connectedCallback() {
    this.#stop = new AbortController();
    const on = { signal: this.#stop.signal };
    this.dialog?.addEventListener("ef:opened", () => this.#open(), on);
    this.input?.addEventListener("input", () => this.#typed(), on);
    this.addEventListener("keydown", (event) => this.#key(event), on);
    this.list?.addEventListener("click", (event) => {
      const option = event.target instanceof Element && event.target.closest("[role=option]");
      if (option instanceof HTMLElement) this.#pick(Number(option.dataset.index));
    }, on);
  }

  disconnectedCallback() {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }

  get dialog() {
    return this.closest("dialog");
  }

  /** @returns {HTMLInputElement | null} */
  get input() {
    return this.querySelector("input");
  }

  /** @returns {HTMLElement | null} */
  get list() {
    return this.querySelector("[role=listbox]");
  }

  #open() {
    if (this.input) this.input.value = "";
    this.input?.focus();
    this.#show("", []);
    this.#ask("");
  }

  #typed() {
    const query = this.input?.value.trim() || "";
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(query), WAIT_MS);
  }

  /** @param {string} query */
  async #ask(query) {
    const mine = (this.#asked += 1);
    try {
      const answer = await fetch(`${this.dataset.url}?q=${encodeURIComponent(query)}`, { credentials: "same-origin" });
      const found = await answer.json();
      if (mine !== this.#asked) return;
      if (found.flow && this.dialog?.open) return location.assign(found.flow);
      this.#show(query, found.items);
    } catch {
      if (mine === this.#asked) this.#show(query, []);
    }
  }

  /** @param {string} query @param {Item[]} found */
  #show(query, found) {
    const wanted = query.toLowerCase();
    const own = [...pages(), ...actions()].filter((item) => item.title.toLowerCase().includes(wanted));
    this.#items = query ? [...found, ...own].slice(0, MOST) : [...own, ...found];
    this.#at = 0;
    this.list?.replaceChildren(...(this.#items.length ? this.#rows(query) : [this.#nothing(query)]));
    this.#mark();
  }

  /** @param {string} query */
  #rows(query) {
    let group = "";
    return this.#items.flatMap((item, index) => {
      const made = [];
      if (item.group !== group) {
        group = item.group;
        const head = document.createElement("div");
        head.className = "grp";
        head.setAttribute("role", "presentation");
        head.textContent = group;
        made.push(head);
      }
      const row = document.createElement("div");
      row.id = `cmdk-${index}`;
      row.setAttribute("role", "option");
      row.dataset.index = String(index);
      const title = document.createElement("span");
      title.className = item.mono ? "trunc mono" : "trunc";
      title.append(...marked(item.title, query));
      const sub = document.createElement("span");
      sub.className = "sub";
      sub.textContent = item.sub || "";
      row.append(icon(item.icon, "sm"), title, sub);
      made.push(row);
      return made;
    });
  }

  /** @param {string} query */
  #nothing(query) {
    const box = document.createElement("div");
    box.className = "empty";
    const head = document.createElement("h3");
    head.textContent = `Nothing matches “${query}”`;
    const link = document.createElement("a");
    link.className = "btn";
    link.href = `${pageUrl("f")}?q=${encodeURIComponent(query)}`;
    link.textContent = "Search all stored flows";
    box.append(head, link);
    return box;
  }

  #mark() {
    this.list?.querySelectorAll("[role=option]").forEach((option, index) => {
      option.setAttribute("aria-selected", String(index === this.#at));
      if (index === this.#at) option.scrollIntoView({ block: "nearest" });
    });
    if (this.#items.length) this.input?.setAttribute("aria-activedescendant", `cmdk-${this.#at}`);
    else this.input?.removeAttribute("aria-activedescendant");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.#items.length) {
      event.preventDefault();
      this.#at = (this.#at + step + this.#items.length) % this.#items.length;
      this.#mark();
    }
    if (event.key === "Enter" && event.target === this.input) {
      event.preventDefault();
      this.#pick(this.#at);
    }
  }

  /** @param {number} index */
  #pick(index) {
    const item = this.#items[index];
    if (!item) return;
    this.dialog?.close();
    if (item.run) item.run();
    else if (item.url) location.assign(item.url);
  }
}

/** The matched part in <mark>. @param {string} text @param {string} query @returns {(string | Node)[]} */
function marked(text, query) {
  const at = query ? text.toLowerCase().indexOf(query.toLowerCase()) : -1;
  if (at < 0) return [text];
  const mark = document.createElement("mark");
  mark.textContent = text.slice(at, at + query.length);
  return [text.slice(0, at), mark, text.slice(at + query.length)];
}

customElements.define("ef-palette", Palette);
