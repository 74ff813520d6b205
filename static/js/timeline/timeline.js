// @ts-check
// <ef-timeline>: zoom, mini-map, selection and keys for a flow's timeline. The server draws the rows with their times in
// data-a and data-z (milliseconds after the flow's start); this only places them again. Without it the page reads the same.

import { onKey, toast } from "../shell.js";
import { arrows, trees } from "./lines.js";

const STEPS = [1, 2, 5];
const LEAST_MS = 0.05;

/** @param {number} ms */
export function words(ms) {
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const whole = Math.round(ms / 1000);
  const pad = (/** @type {number} */ n) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${pad(whole % 60)} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} m`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** @param {number} long */
function stepFor(long) {
  for (let power = 0.001; power < 1e13; power *= 10) {
    for (const step of STEPS) if (long / (step * power) < 9) return step * power;
  }
  return long;
}

class Timeline extends HTMLElement {
  from = 0;
  to = 1;
  whole = true;
  /** @type {(() => void)[]} */
  off = [];
  /** @type {number | undefined} */
  soon = undefined;
  observer = new ResizeObserver(() => this.layout());

  connectedCallback() {
    this.rows = /** @type {HTMLElement} */ (this.querySelector("[role=treegrid]"));
    this.frame = /** @type {HTMLElement} */ (this.querySelector(".wf"));
    this.map = /** @type {HTMLElement} */ (this.querySelector(".mmap"));
    this.all();
    this.settle();
    this.observer.observe(this.frame);
    this.addEventListener("click", this);
    this.rows.addEventListener("keydown", this);
    this.rows.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.map.addEventListener("pointerdown", (event) => this.onMap(event));
    const refreshed = () => (this.whole ? this.all() : this.layout());
    document.addEventListener("ef:refreshed", refreshed);
    this.off = [
      () => document.removeEventListener("ef:refreshed", refreshed),
      onKey("j", () => this.step(1)),
      onKey("k", () => this.step(-1)),
      onKey("+", () => this.zoom(0.6)),
      onKey("=", () => this.zoom(0.6)),
      onKey("-", () => this.zoom(1.6)),
      onKey("0", () => this.all()),
      onKey("f", () => this.fit()),
      onKey("c", () => this.toggle("cp")),
    ];
  }

  /** What the server chose to show stays chosen when the flow goes on; narrow screens open the panel only on demand. */
  settle() {
    const id = /** @type {HTMLElement | null} */ (this.rows?.querySelector("[aria-selected=true]"))?.dataset.id;
    const here = new URL(location.href);
    if (!id || here.searchParams.get("event") || innerWidth <= 1080) return;
    here.searchParams.set("event", id);
    history.replaceState(history.state, "", here);
    follow();
  }

  disconnectedCallback() {
    this.observer.disconnect();
    this.off.forEach((undo) => undo());
  }

  /** @param {Event} event */
  handleEvent(event) {
    if (event instanceof KeyboardEvent) return this.onArrow(event);
    const target = /** @type {Element} */ (event.target);
    const zoom = target.closest("[data-zoom]")?.getAttribute("data-zoom");
    if (zoom) return zoom === "all" ? this.all() : this.zoom(zoom === "in" ? 0.6 : 1.6);
    const toggled = target.closest("[data-toggle]")?.getAttribute("data-toggle");
    if (toggled) return this.toggle(toggled);
    const row = /** @type {HTMLElement | null} */ (target.closest("[data-id]"));
    if (!row) return undefined;
    if (target.closest(".twist")) return this.fold(row);
    if (target.closest(".nm a")) return this.mark(row);
    if (!target.closest("a, button")) this.pick(row);
    return undefined;
  }

  /** @returns {HTMLElement[]} */
  list() {
    return /** @type {HTMLElement[]} */ ([...this.rows.querySelectorAll("[data-id]:not([hidden])")]);
  }

  /* ---------- the window on the axis ---------- */

  get first() {
    return Number(this.dataset.start);
  }
  get last() {
    return Number(this.dataset.end);
  }

  all() {
    this.show(this.first, this.last);
  }

  /** @param {number} from @param {number} to */
  show(from, to) {
    const long = Math.max(LEAST_MS, Math.min(this.last - this.first, to - from));
    this.from = Math.max(this.first, Math.min(from, this.last - long));
    this.to = this.from + long;
    this.whole = long >= (this.last - this.first) * 0.999;
    this.layout();
  }

  /** @param {number} factor @param {number} [at] */
  zoom(factor, at = (this.from + this.to) / 2) {
    const long = (this.to - this.from) * factor;
    const part = (at - this.from) / (this.to - this.from);
    this.show(at - long * part, at + long * (1 - part));
  }

  fit() {
    const row = this.rows.querySelector("[aria-selected=true]");
    const times = [...(row?.querySelectorAll(".b:not(.cp)") || [])].flatMap((bar) => [Number(bar.getAttribute("data-a")), Number(bar.getAttribute("data-z"))]);
    if (!times.length) return;
    const a = Math.min(...times);
    const z = Math.max(...times);
    const room = (z - a) * 0.15 + 1;
    this.show(a - room, z + room);
  }

  /** @param {WheelEvent} event */
  onWheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const cell = this.rows.querySelector(".c")?.getBoundingClientRect();
    if (!cell) return;
    this.zoom(Math.exp(event.deltaY * 0.003), this.from + ((event.clientX - cell.left) / cell.width) * (this.to - this.from));
  }

  /** @param {PointerEvent} event */
  onMap(event) {
    const box = this.map.getBoundingClientRect();
    const time = (/** @type {PointerEvent} */ at) => this.first + ((at.clientX - box.left) / box.width) * (this.last - this.first);
    const begun = time(event);
    const moving = /** @type {Element} */ (event.target).closest(".win") && !this.whole;
    const { from, to } = this;
    const go = (/** @type {PointerEvent} */ at) => {
      const now = time(at);
      if (moving) this.show(from + now - begun, to + now - begun);
      else if (Math.abs(now - begun) > (this.last - this.first) * 0.006) this.show(Math.min(now, begun), Math.max(now, begun));
    };
    const up = () => {
      removeEventListener("pointermove", go);
      removeEventListener("pointerup", up);
    };
    addEventListener("pointermove", go);
    addEventListener("pointerup", up);
  }

  /* ---------- selection ---------- */

  /** @param {HTMLElement} row */
  mark(row) {
    for (const other of this.rows.querySelectorAll("[aria-selected=true]")) other.setAttribute("aria-selected", "false");
    row.setAttribute("aria-selected", "true");
    this.rows.setAttribute("aria-activedescendant", row.id);
    row.scrollIntoView({ block: "nearest" });
  }

  /** @param {HTMLElement} row @param {number} [wait] keys held down ask only for where they stop */
  pick(row, wait = 0) {
    this.mark(row);
    clearTimeout(this.soon);
    this.soon = setTimeout(() => /** @type {HTMLElement | null} */ (row.querySelector(".nm a"))?.click(), wait);
  }

  /** @param {number} by */
  step(by) {
    const list = this.list();
    if (!list.length) return;
    const at = list.findIndex((row) => row.getAttribute("aria-selected") === "true");
    this.pick(list[Math.max(0, Math.min(list.length - 1, at + by))], 150);
  }

  /** @param {KeyboardEvent} event */
  onArrow(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      this.step(event.key === "ArrowDown" ? 1 : -1);
    }
    const row = /** @type {HTMLElement | null} */ (this.rows.querySelector("[aria-selected=true]"));
    const twist = row?.querySelector(".twist");
    const open = twist?.getAttribute("aria-expanded") === "true";
    if (row && twist && ((event.key === "ArrowLeft" && open) || (event.key === "ArrowRight" && !open))) this.fold(row);
  }

  /** @param {HTMLElement} row */
  fold(row) {
    const twist = row.querySelector(".twist");
    const open = twist?.getAttribute("aria-expanded") !== "true";
    twist?.setAttribute("aria-expanded", String(open));
    for (const below of /** @type {NodeListOf<HTMLElement>} */ (this.rows.querySelectorAll(".wr.att"))) {
      if (below.dataset.parent === row.id) below.hidden = !open;
    }
    this.layout();
  }

  /** @param {string} what cp or arrows */
  toggle(what) {
    const button = this.querySelector(`[data-toggle="${what}"]`);
    const on = button?.getAttribute("aria-pressed") !== "true";
    button?.setAttribute("aria-pressed", String(on));
    this.frame.classList.toggle(`no-${what}`, !on);
    this.layout();
  }

  /* ---------- drawing ---------- */

  layout() {
    const cell = this.rows.querySelector(".c");
    const wide = cell?.clientWidth || 0;
    if (!wide) return;
    const scale = wide / (this.to - this.from);
    const x = (/** @type {number} */ ms) => (ms - this.from) * scale;
    for (const row of this.list()) this.place(row, x, wide);
    const step = stepFor(this.to - this.from);
    this.rows.style.setProperty("--gs", `${step * scale}px`);
    this.rows.style.setProperty("--go", `${x(0) % (step * scale)}px`);
    this.axis(step, x, wide);
    const text = this.querySelector("[data-range-text]");
    if (text) text.textContent = `${this.from > 0 ? words(this.from) : "0"} to ${words(Math.min(this.to, Number(this.dataset.length)))}`;
    const long = this.last - this.first;
    const win = /** @type {HTMLElement | null} */ (this.map.querySelector(".win"));
    if (win) {
      win.style.left = `${((this.from - this.first) / long) * 100}%`;
      win.style.width = `${((this.to - this.from) / long) * 100}%`;
    }
    trees(this.rows);
    const shown = !this.frame.classList.contains("no-arrows") && this.querySelector('[data-toggle="arrows"]');
    arrows(this.rows, shown ? x : null, wide, !this.frame.classList.contains("no-cp"));
  }

  /** @param {HTMLElement} row @param {(ms: number) => number} x @param {number} wide */
  place(row, x, wide) {
    for (const bar of /** @type {NodeListOf<HTMLElement>} */ (row.querySelectorAll(".b"))) {
      const a = x(Number(bar.dataset.a));
      bar.style.left = `${a}px`;
      const moment = bar.matches(".pub, .dead");
      if (!moment) bar.style.width = `${Math.max(0, x(Number(bar.dataset.z)) - a)}px`;
    }
    let inside = false;
    for (const label of /** @type {NodeListOf<HTMLElement>} */ (row.querySelectorAll(".bl[data-in]"))) {
      const a = Math.max(0, x(Number(label.dataset.a)));
      const z = Math.min(wide, x(Number(label.dataset.z)));
      const fits = z - a > label.offsetWidth + 16;
      label.classList.toggle("room", !fits);
      label.style.left = `${(a + z) / 2}px`;
      label.style.transform = "translate(-50%,-50%)";
      inside ||= fits;
    }
    for (const label of /** @type {NodeListOf<HTMLElement>} */ (row.querySelectorAll(".bl:not([data-in])"))) {
      if (label.dataset.short) label.textContent = inside ? label.dataset.short : label.dataset.full || "";
      const z = x(Number(label.dataset.z));
      const bars = inside && label.dataset.short ? [...row.querySelectorAll(".b.proc, .b.fail")] : [];
      const a = bars.length ? x(Number(bars[0].getAttribute("data-a"))) : x(Number(label.dataset.a));
      const gap = label.classList.contains("act") ? 10 : 2;
      const flip = z + gap + label.offsetWidth > wide && a - label.offsetWidth > 0;
      label.classList.toggle("flip", flip);
      label.classList.toggle("right", !flip);
      label.style.left = `${flip ? a - gap : z + gap}px`;
    }
  }

  /** @param {number} step @param {(ms: number) => number} x @param {number} wide */
  axis(step, x, wide) {
    const axis = this.querySelector(".axis");
    if (!axis) return;
    const ticks = [];
    for (let n = Math.ceil(Math.max(0, this.from) / step); n * step < this.to && ticks.length < 20; n += 1) {
      const tick = document.createElement("span");
      tick.style.left = `${(x(n * step) / wide) * 100}%`;
      tick.textContent = n === 0 ? "0" : words(n * step).replace(".0 s", " s");
      ticks.push(tick);
    }
    axis.replaceChildren(...ticks);
  }
}

customElements.define("ef-timeline", Timeline);

/* ---------- the page around it ---------- */

/** The live region asks for what the address shows now. */
function follow() {
  document.getElementById("flow")?.setAttribute("data-live-refetch", location.pathname + location.search);
}
document.addEventListener("htmx:pushedIntoHistory", follow);

const side = () => document.getElementById("side");
document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  if (target.closest("[data-side-close]")) side()?.classList.remove("open");
  if (!target.closest("[data-copy-link]")) return;
  navigator.clipboard?.writeText(location.href).then(
    () => toast("Link copied"),
    () => toast("Not copied", { text: "The browser did not allow it.", kind: "warn" }),
  );
});
onKey("Escape", () => side()?.classList.remove("open"));
onKey("y", () => /** @type {HTMLElement | null} */ (document.querySelector(".fl-hd h1 [data-copy]"))?.click());
for (const key of ["1", "2", "3", "4"]) {
  onKey(key, () => /** @type {HTMLElement | null} */ (document.querySelector(`[data-tab-key="${key}"]`))?.click());
}
