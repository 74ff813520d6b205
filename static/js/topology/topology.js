// @ts-check
// <ef-topology>: pans, zooms and fits the graph that the server drew, walks it by keyboard, and follows links in place.
// Everything that can be chosen is in the address; a choice fetches the new view and morphs it in, as live updates do.

import { morph } from "../morph.js";
import { all, onKey, one } from "../shell.js";
import { Viewport } from "./viewport.js";

const FIND_WAIT_MS = 180;

class Topology extends HTMLElement {
  #stop = new AbortController();
  /** @type {(() => void)[]} */ #keys = [];
  /** @type {Viewport | null} */ #view = null;
  #asked = 0;
  /** @type {number | undefined} */ #timer;

  connectedCallback() {
    this.#stop = new AbortController();
    const on = { signal: this.#stop.signal };
    this.addEventListener("click", (event) => this.#click(event), on);
    this.addEventListener("keydown", (event) => this.#key(event), on);
    this.addEventListener("pointerover", (event) => this.#near(this.#item(event.target)), on);
    this.addEventListener("focusin", (event) => this.#focus(event), on);
    this.addEventListener("input", (event) => this.#typed(event), on);
    this.addEventListener("change", (event) => this.#typed(event), on);
    this.addEventListener("submit", (event) => event.preventDefault(), on);
    this.addEventListener("ef:refreshed", () => this.#settle(), on);
    addEventListener("popstate", () => this.#go(location.href, false), on);
    addEventListener("resize", () => this.#view?.fit(), on);
    this.#keys = [
      onKey("+", () => this.#view?.zoom(1.25)),
      onKey("=", () => this.#view?.zoom(1.25)),
      onKey("-", () => this.#view?.zoom(0.8)),
      onKey("0", () => this.#view?.fit()),
      onKey("u", () => one("#tp-unhealthy", this)?.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }))),
      onKey("v", () => /** @type {HTMLElement | null} */ (one("#tp-views a:not([aria-current])", this))?.click()),
      onKey("Escape", () => /** @type {HTMLElement | null} */ (one("[data-close-panel]", this))?.click()),
    ];
    this.#settle();
  }

  disconnectedCallback() {
    this.#stop.abort();
    this.#keys.forEach((undo) => undo());
    this.#view?.stop();
    clearTimeout(this.#timer);
  }

  /** After the server's rendering changed: the picture may be new, its labels may be others. */
  #settle() {
    const picture = one("#tp-graph", this);
    if (picture instanceof SVGSVGElement && this.#view?.picture !== picture) {
      this.#view?.stop();
      this.#view = new Viewport(this, picture);
      this.#view.fit();
      const selected = /** @type {HTMLElement | null} */ (one("#tp-side", this))?.dataset.selected;
      if (selected) this.#reveal(selected);
    } else if (!picture) {
      this.#view?.stop();
      this.#view = null;
    }
    this.#view?.paint();
    this.#near(this.#item(this.querySelector(":focus") || this.querySelector(".gr a:hover")));
  }

  /** @param {EventTarget | null} target @returns {SVGElement | null} */
  #item(target) {
    return target instanceof Element ? target.closest("#tp-graph [data-id]") : null;
  }

  /* ---------- choices ---------- */

  /** @param {MouseEvent} event */
  #click(event) {
    const target = /** @type {Element} */ (event.target);
    const plain = !event.metaKey && !event.ctrlKey && !event.shiftKey && event.button === 0;
    if (!plain) return;
    const zoom = target.closest("[data-zoom]");
    if (zoom instanceof HTMLElement) {
      if (zoom.dataset.zoom === "fit") this.#view?.fit();
      else this.#view?.zoom(zoom.dataset.zoom === "in" ? 1.25 : 0.8);
      return;
    }
    const item = target.closest("#tp-graph [data-id], [data-select]");
    const link = target.closest("a[data-go]");
    if (item instanceof HTMLElement || item instanceof SVGElement) {
      event.preventDefault();
      if (!this.#view?.dragged) this.#select(item.dataset.select || item.dataset.id || "");
    } else if (link instanceof HTMLAnchorElement) {
      event.preventDefault();
      this.#go(link.href);
    } else if (target.closest("#tp-graph") && !this.#view?.dragged && !one("#tp-side", this)?.hasAttribute("hidden")) {
      /** @type {HTMLElement | null} */ (one("[data-close-panel]", this))?.click();
    }
  }

  /** @param {string} id */
  async #select(id) {
    const url = new URL(location.href);
    const edge = /^(publish|consume|dead-letter):/.test(id);
    url.searchParams.delete(edge ? "node" : "edge");
    url.searchParams.set(edge ? "edge" : "node", id);
    await this.#go(url.href);
    this.#reveal(id);
  }

  /** @param {Event} event */
  #typed(event) {
    const field = event.target;
    if (!(field instanceof HTMLInputElement || field instanceof HTMLSelectElement) || !field.name) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const url = new URL(location.href);
      if (field.value) url.searchParams.set(field.name, field.value);
      else url.searchParams.delete(field.name);
      this.#go(url.href);
    }, event.type === "change" ? 0 : FIND_WAIT_MS);
  }

  /** Shows another address of this page without leaving it. @param {string} address @param {boolean} [remember] */
  async #go(address, remember = true) {
    const part = one("#tp", this);
    if (!part) return;
    const mine = (this.#asked += 1);
    const url = new URL(address, location.href);
    const token = new URL(part.getAttribute("data-live-refetch") || "", location.href).searchParams.get("layout");
    const asked = new URL(url);
    if (token) asked.searchParams.set("layout", token);
    try {
      const answer = await fetch(asked, { headers: { "HX-Request": "true" }, credentials: "same-origin" });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const newer = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("tp");
      if (!newer || mine !== this.#asked) return;
      url.searchParams.delete("layout");
      if (remember) history.replaceState(null, "", url);
      morph(part, newer);
      this.#settle();
    } catch {
      location.assign(url);
    }
  }

  /* ---------- walking ---------- */

  /** @param {KeyboardEvent} event */
  #key(event) {
    const item = this.#item(event.target);
    if (!item || (event.key !== "ArrowRight" && event.key !== "ArrowLeft")) return;
    event.preventDefault();
    const ahead = event.key === "ArrowRight";
    const node = item.dataset.node || item.dataset.id;
    const own = item.dataset.id;
    // The busiest neighbour first.
    const width = (/** @type {HTMLElement} */ line) => Number(line.querySelector(".base")?.getAttribute("stroke-width"));
    const edges = all("#tp-graph .e", this).sort((a, b) => width(b) - width(a));
    const edge =
      edges.find((line) => (ahead ? line.dataset.source === node : line.dataset.port === own)) ||
      edges.find((line) => (ahead ? line.dataset.source : line.dataset.target) === node);
    const next = edge && (ahead ? edge.dataset.port || edge.dataset.target : edge.dataset.source);
    if (next) /** @type {HTMLElement | null} */ (this.#find(next))?.focus();
  }

  /** @param {string} id */
  #find(id) {
    return one(`#tp-graph [data-id="${CSS.escape(id)}"]`, this);
  }

  /** @param {FocusEvent} event */
  #focus(event) {
    const item = this.#item(event.target);
    this.#near(item);
    if (item && item.matches(":focus-visible")) this.#view?.reveal(item);
  }

  /** @param {string} id */
  #reveal(id) {
    const item = this.#find(id);
    if (item instanceof SVGGraphicsElement) this.#view?.reveal(item);
  }

  /** Lights the edges of what the pointer or the focus is on, and shows their numbers. @param {SVGElement | null} item */
  #near(item) {
    const id = item?.dataset.id;
    const selected = /** @type {HTMLElement | null} */ (one("#tp-side", this))?.dataset.selected;
    const shown = new Set();
    for (const line of all("#tp-graph .e", this)) {
      const { id: edge, source, target, port } = line.dataset;
      const near = !!id && (edge === id || source === id || port === id || (target === id && !item?.dataset.node));
      line.classList.toggle("near", near);
      if (near || edge === selected) shown.add(edge);
    }
    for (const label of all("#tp-graph .lbl", this)) label.classList.toggle("near", shown.has(label.dataset.for));
  }
}

customElements.define("ef-topology", Topology);
