// @ts-check
// <ef-flow-brush>: dragging across the chart of durations narrows the list to those times and durations; a click
// narrows to one cell. What it leads to is an address, as with the links beside it, which do without a script.

const DAY_MS = 86_400_000;
const COLUMNS = 60;

class FlowBrush extends HTMLElement {
  /** @type {AbortController | null} */
  #listening = null;
  /** @type {{x: number, y: number, id: number} | null} */
  #from = null;
  /** @type {HTMLElement | null} */
  #box = null;

  connectedCallback() {
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    this.addEventListener("pointerdown", (event) => this.#begin(event), { signal });
    this.addEventListener("pointermove", (event) => this.#draw(event), { signal });
    this.addEventListener("pointerup", (event) => this.#end(event), { signal });
    this.addEventListener("pointercancel", () => this.#drop(), { signal });
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.#drop(), { signal });
  }

  disconnectedCallback() {
    this.#listening?.abort();
    this.#drop();
  }

  /** @param {PointerEvent} event */
  #begin(event) {
    const plot = event.target instanceof Element ? event.target.closest("[data-plot]") : null;
    if (!plot || event.button !== 0) return;
    event.preventDefault();
    this.#from = { ...this.#place(event), id: event.pointerId };
    this.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event where in the plot, from 0 to 1 */
  #place(event) {
    const plot = this.querySelector("[data-plot]");
    const { left, top, width, height } = (plot ?? this).getBoundingClientRect();
    const part = (/** @type {number} */ value) => Math.min(Math.max(value, 0), 1);
    return { x: part((event.clientX - left) / width), y: part((event.clientY - top) / height) };
  }

  /** @param {PointerEvent} event */
  #draw(event) {
    const plot = this.querySelector("[data-plot]");
    if (!this.#from || !plot) return;
    const to = this.#place(event);
    if (!this.#box?.isConnected) {
      this.#box = document.createElement("div");
      this.#box.className = "hm-brush";
      this.#box.setAttribute("data-live-own", "");
      plot.append(this.#box);
    }
    const [x, width] = [Math.min(this.#from.x, to.x), Math.abs(this.#from.x - to.x)];
    const [y, height] = [Math.min(this.#from.y, to.y), Math.abs(this.#from.y - to.y)];
    Object.assign(this.#box.style, {
      left: `${x * 100}%`,
      width: `${width * 100}%`,
      top: `${y * 100}%`,
      height: `${height * 100}%`,
    });
  }

  /** @param {PointerEvent} event */
  #end(event) {
    const plot = this.querySelector("[data-plot]");
    if (!this.#from || !plot) return;
    const [from, to] = [this.#from, this.#place(event)];
    this.#drop();
    // Whole columns, like the rows: what happened last lies at the very edge, where no pointer ends exactly.
    const left = Math.floor(Math.min(from.x, to.x) * COLUMNS) / COLUMNS;
    const right = Math.min(Math.floor(Math.max(from.x, to.x) * COLUMNS) + 1, COLUMNS) / COLUMNS;
    this.#narrow(left, right, Math.min(from.y, to.y), Math.max(from.y, to.y));
  }

  /** @param {number} left @param {number} right @param {number} top @param {number} bottom */
  #narrow(left, right, top, bottom) {
    // Bounds of the rows, the topmost first; nothing where the longest have no end.
    const bounds = (this.dataset.bounds ?? "").split(" ");
    const rows = bounds.length - 1;
    const row = (/** @type {number} */ part) => Math.min(Math.floor(part * rows), rows - 1);
    const [start, end] = [Number(this.dataset.start), Number(this.dataset.end)];
    const time = (/** @type {number} */ part) => new Date(start + (end - start) * part);
    const url = new URL(location.href);
    const put = (/** @type {string} */ name, /** @type {string} */ value) =>
      value ? url.searchParams.set(name, value) : url.searchParams.delete(name);
    const said = (/** @type {string} */ ms) => (Number(ms) > 0 && Number(ms) < 366 * DAY_MS ? `${ms}ms` : "");
    put("since", time(left).toISOString());
    put("until", time(right).toISOString());
    put("max", said(bounds[row(top)]));
    put("min", said(bounds[row(Math.max(top, bottom - 1e-9)) + 1]));
    put("cursor", "");
    location.assign(url);
  }

  #drop() {
    this.#from = null;
    this.#box?.remove();
    this.#box = null;
  }
}

customElements.define("ef-flow-brush", FlowBrush);
