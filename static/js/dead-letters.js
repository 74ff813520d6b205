// @ts-check
// Dead letters: choosing a group or a letter keeps the page (and its scroll), the address always says what is shown.
// Keys: j k move, Enter opens, x selects, Shift+click a range, r replays, e archives, Esc closes the panel.

import { morph } from "./morph.js";
import { all, one, onKey, rows } from "./shell.js";

class Letters extends HTMLElement {
  /** @type {(() => void)[]} */
  #off = [];
  /** @type {AbortController | null} */
  #asking = null;
  /** @type {HTMLInputElement | null} */
  #last = null;
  /** @type {number | undefined} */
  #typing;

  connectedCallback() {
    const gone = new AbortController();
    const { signal } = gone;
    this.addEventListener("click", (event) => this.#click(event), { signal });
    this.addEventListener("change", (event) => this.#change(event), { signal });
    this.addEventListener("input", (event) => this.#type(event), { signal });
    this.addEventListener("submit", (event) => this.#submit(event), { signal });
    this.addEventListener("ef:refreshed", () => this.#refreshed(), { signal });
    addEventListener("popstate", () => this.#show(location.href, false), { signal });
    this.#off = [
      () => gone.abort(),
      onKey("x", () => this.#toggle()),
      onKey("r", () => this.#press("[data-bulk-replay]", "[data-replay]")),
      onKey("e", () => this.#press("[data-bulk-archive]", "[data-archive]")),
      onKey("Escape", () => one(".de-hd .close", this) instanceof HTMLElement && /** @type {HTMLElement} */ (one(".de-hd .close", this)).click()),
    ];
    this.#bindRows();
    this.#paint();
  }

  disconnectedCallback() {
    this.#off.forEach((undo) => undo());
    this.#off = [];
    this.#asking?.abort();
    clearTimeout(this.#typing);
  }

  #refreshed() {
    // With the first letter, and after the last one, the page has other parts than before.
    const head = one("#dl-hd", this);
    const none = head instanceof HTMLElement && head.dataset.causes === "0";
    if (none === Boolean(one("#dl-groups", this))) void this.#show(location.href, false);
    else this.#paint();
  }

  #bindRows() {
    const body = one("[data-rows]", this);
    if (!(body instanceof HTMLElement) || body.dataset.bound) return;
    body.dataset.bound = "1";
    body.setAttribute("data-live-keep", "data-bound");
    this.#off.push(rows(body));
  }

  /** @returns {HTMLInputElement[]} */
  #boxes() {
    return /** @type {HTMLInputElement[]} */ (all("[data-rows] input[type=checkbox]", this));
  }

  /** @param {string} url @param {boolean} [push] */
  async #show(url, push = true) {
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    this.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(url, { credentials: "same-origin", signal: asking.signal });
      if (!answer.ok || answer.redirected) return location.assign(url);
      const newer = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("dl");
      if (!newer) return location.assign(url);
      if (push) history.pushState(null, "", url);
      const group = one("[data-rows]", this)?.closest("table")?.caption?.textContent;
      morph(this, newer);
      /** @type {any} */ (window).htmx?.process(this);
      if (group !== one("[data-rows]", this)?.closest("table")?.caption?.textContent) {
        for (const box of this.#boxes()) box.checked = false;
        one(".sc", this)?.scrollTo(0, 0);
      }
      one("#det", this)?.scrollTo(0, 0);
      this.#bindRows();
      this.#paint();
    } catch (error) {
      if (!asking.signal.aborted) location.assign(url);
    } finally {
      if (this.#asking === asking) this.removeAttribute("aria-busy");
    }
    return undefined;
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const target = /** @type {Element} */ (event.target);
    const link = target.closest("a[data-go]");
    if (link instanceof HTMLAnchorElement && !event.metaKey && !event.ctrlKey && !event.shiftKey && event.button === 0) {
      event.preventDefault();
      this.#show(link.href);
      return;
    }
    if (target instanceof HTMLInputElement && target.name === "letter") {
      const boxes = this.#boxes();
      if (event.shiftKey && this.#last) {
        const [from, to] = [boxes.indexOf(this.#last), boxes.indexOf(target)].sort((a, b) => a - b);
        for (const box of boxes.slice(Math.max(0, from), to + 1)) box.checked = target.checked;
      }
      this.#last = target;
    }
    if (target.closest("[data-bulk-clear]")) {
      for (const box of this.#boxes()) box.checked = false;
      this.#paint();
    }
  }

  /** @param {Event} event */
  #change(event) {
    const target = event.target;
    if (target instanceof HTMLInputElement && target.matches("[data-select-all]")) {
      for (const box of this.#boxes()) box.checked = target.checked;
    }
    this.#paint();
  }

  /** @param {Event} event */
  #type(event) {
    const field = event.target;
    if (!(field instanceof HTMLInputElement) || field.name !== "q") return;
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#search(field), 250);
  }

  /** @param {Event} event */
  #submit(event) {
    const form = /** @type {HTMLFormElement} */ (event.target);
    const field = form.elements.namedItem("q");
    if (!(field instanceof HTMLInputElement)) return;
    event.preventDefault();
    clearTimeout(this.#typing);
    this.#search(field);
  }

  /** @param {HTMLInputElement} field */
  #search(field) {
    const url = new URL(location.href);
    for (const name of ["group", "letter", "after"]) url.searchParams.delete(name);
    if (field.value.trim()) url.searchParams.set("q", field.value.trim());
    else url.searchParams.delete("q");
    this.#show(url.href);
  }

  #toggle() {
    const row = one("[data-rows] tr.cursor, [data-rows] tr[aria-selected=true]", this);
    const box = row && one("input[type=checkbox]", row);
    if (box instanceof HTMLInputElement) box.checked = !box.checked;
    this.#paint();
  }

  /** @param {string} many @param {string} single */
  #press(many, single) {
    const chosen = this.#boxes().some((box) => box.checked);
    const button = one(chosen ? many : single, this);
    if (button instanceof HTMLElement) button.click();
  }

  #paint() {
    const chosen = this.#boxes().filter((box) => box.checked).length;
    const boxes = this.#boxes().length;
    const bulk = one("[data-bulk]", this);
    bulk?.classList.toggle("on", chosen > 0);
    const [none, some] = [one("[data-bulk-none]", this), one("[data-bulk-some]", this)];
    if (none instanceof HTMLElement) none.hidden = chosen > 0;
    if (some instanceof HTMLElement) some.hidden = chosen === 0;
    const words = one("[data-bulk-replay-text]", this);
    if (words) words.textContent = `Replay ${chosen}`;
    const picked = one("[data-picked]", this);
    if (picked) picked.textContent = chosen ? `${chosen} selected` : "";
    const every = one("[data-select-all]", this);
    if (every instanceof HTMLInputElement) {
      every.checked = chosen > 0 && chosen === boxes;
      every.indeterminate = chosen > 0 && chosen < boxes;
    }
  }
}

customElements.define("ef-letters", Letters);
