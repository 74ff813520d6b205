// @ts-check
// <ef-chart data-src="…figure.json" data-plotly="…plotly.min.js" data-live="lag:3" data-label="…"> a sparkline </ef-chart>
// Draws the figure that data-src answers with, again on news (ef:news) and when the theme changes. Until then, and when
// anything fails, what the server rendered inside stays. Colours arrive as the theme's tokens: "var(--bar)", "var(--bar) 12%".
//
// Dragging over a piece of time shows that piece, in all charts of the page (ef:zoom); with Shift it moves; a double click
// or the button shows all again. A figure that says it is not `whole` is asked for anew with ?from=…&to=… (milliseconds).

/** @type {Promise<any> | null} */
let library = null;

/** @param {string} src @returns {Promise<any>} Plotly, loaded once per page */
function plotly(src) {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = src;
    script.onload = () => resolve(/** @type {any} */ (window).Plotly);
    script.onerror = () => reject(new Error("the chart library did not load"));
    document.head.append(script);
  });
  return library;
}

/** @typedef {[number, number] | null} Piece From when to when, in milliseconds; null is all. */

/** @param {unknown} text a moment as Plotly writes it, in UTC */
const moment = (text) => (typeof text === "number" ? text : Date.parse(`${String(text).replace(" ", "T")}Z`));

/** @param {Record<string, any>} change what Plotly says was moved @returns {Piece | undefined} undefined: not the time */
export function pieceOf(change) {
  const range = change["xaxis.range"] || [change["xaxis.range[0]"], change["xaxis.range[1]"]];
  const [from, to] = [moment(range[0]), moment(range[1])];
  return Number.isFinite(from) && Number.isFinite(to) && to > from ? [from, to] : undefined;
}

/** @param {string} src @param {Piece} piece with as much before and after it, so that it can be moved */
export function addressOf(src, piece) {
  if (!piece) return src;
  const [from, to] = piece;
  return `${src}${src.includes("?") ? "&" : "?"}from=${Math.round(2 * from - to)}&to=${Math.round(2 * to - from)}`;
}

/** @param {Element} host @returns {(value: any) => any} */
function themer(host) {
  const probe = document.createElement("span");
  probe.hidden = true;
  host.append(probe);
  const known = new Map();
  /** @param {string} text */
  const colour = (text) => {
    const found = /^(var\(--[\w-]+\))(?: (\d+)%)?$/.exec(text);
    if (!found) return text;
    if (!known.has(text)) {
      probe.style.color = found[1];
      const rgb = getComputedStyle(probe).color;
      known.set(text, found[2] ? rgb.replace(/^rgb\((.*)\)$/, `rgba($1, ${Number(found[2]) / 100})`) : rgb);
    }
    return known.get(text);
  };
  /** @param {any} value @returns {any} */
  const walk = (value) => {
    if (typeof value === "string") return colour(value);
    if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(walk);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, walk(inner)]));
    return value;
  };
  return (value) => {
    const themed = walk(value);
    probe.remove();
    return themed;
  };
}

/**
 * The axes for a piece of a figure: high enough for what happens in it.
 * @param {any} figure @param {Piece} piece
 */
export function viewOf(figure, piece) {
  const { xaxis, yaxis } = figure.layout;
  if (!piece) return { x: xaxis.range, y: yaxis.range };
  const [from, to] = piece;
  let top = 0;
  for (const { x, y } of figure.data) {
    for (let at = 0; at < x.length; at++) if (x[at] >= from && x[at] <= to && y[at] > top) top = y[at];
  }
  return { x: piece.map((at) => new Date(at).toISOString()), y: [0, (top || 1) * 1.08] };
}

const CONFIG = { displayModeBar: false, responsive: false, doubleClick: false, showTips: false };

/** @param {Piece} piece */
const tell = (piece) => document.dispatchEvent(new CustomEvent("ef:zoom", { detail: piece }));

class Chart extends HTMLElement {
  constructor() {
    super();
    /** @type {AbortController | null} */
    this.listening = null;
    /** @type {any} */
    this.figure = null;
    /** @type {HTMLElement | null} */
    this.plot = null;
    /** @type {HTMLButtonElement | null} */
    this.all = null;
    this.asking = false;
    this.again = false;
    /** @type {ResizeObserver | null} */
    this.sized = null;
    /** @type {Piece} */
    this.piece = null;
    this.moving = false;
    /** @type {Piece} what the figure was asked for; null is all of it */
    this.shown = null;
  }

  connectedCallback() {
    this.listening = new AbortController();
    const { signal } = this.listening;
    this.addEventListener("ef:news", () => this.ask(), { signal });
    document.addEventListener("ef:zoom", (event) => this.zoom(/** @type {CustomEvent} */ (event).detail), { signal });
    document.addEventListener("ef:theme", () => this.draw(), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw(), { signal });
    this.ask();
  }

  disconnectedCallback() {
    this.listening?.abort();
    this.sized?.disconnect();
    if (this.plot) /** @type {any} */ (window).Plotly?.purge(this.plot);
    this.plot = null;
  }

  /** @param {Piece} piece */
  zoom(piece) {
    if (`${piece}` === `${this.piece}`) return;
    this.piece = piece;
    if (this.figure?.whole && !this.shown && this.plot) this.move();
    else this.ask();
  }

  /** Shows another piece of what is drawn: much cheaper than drawing it anew. */
  async move() {
    const Plotly = await plotly(this.dataset.plotly || "");
    if (!this.plot) return;
    const { x, y } = viewOf(this.figure, this.piece);
    if (this.all) this.all.hidden = !this.piece;
    this.moving = true;
    await Plotly.relayout(this.plot, { "xaxis.range": x, "yaxis.range": y });
    this.moving = false;
  }

  async ask() {
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    try {
      // What is drawn whole holds every piece of it.
      const wanted = this.figure?.whole && !this.shown ? null : this.piece;
      const answer = await fetch(addressOf(this.dataset.src || "", wanted), { headers: { Accept: "application/json" }, cache: "no-store" });
      if (!answer.ok || answer.redirected) return;
      this.figure = await answer.json();
      this.shown = wanted;
      await this.draw();
    } catch {
      // What is shown stays; the live pill tells that the connection is lost.
    } finally {
      this.asking = false;
    }
    if (this.again && this.isConnected) {
      this.again = false;
      this.ask();
    }
  }

  async draw() {
    if (!this.figure) return;
    const Plotly = await plotly(this.dataset.plotly || "");
    if (!this.isConnected) return;
    if (!this.plot) {
      this.plot = document.createElement("div");
      this.plot.style.height = "100%";
      this.plot.setAttribute("role", "img");
      this.plot.setAttribute("aria-label", this.dataset.label || "Chart");
      this.all = document.createElement("button");
      this.all.className = "btn sm all";
      this.all.type = "button";
      this.all.textContent = "Show all";
      this.all.addEventListener("click", () => tell(null));
      this.replaceChildren(this.plot, this.all);
      const plot = this.plot;
      this.sized = new ResizeObserver(() => Plotly.Plots.resize(plot));
      this.sized.observe(this);
    }
    const { data, layout } = themer(this)(this.figure);
    layout.font.family = getComputedStyle(this).fontFamily;
    // On a touch screen a finger that moves over a chart scrolls the page.
    layout.dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
    const { x, y } = viewOf(this.figure, this.piece);
    layout.xaxis.range = x;
    layout.yaxis.range = y;
    if (this.all) this.all.hidden = !this.piece;
    const isFirst = !(/** @type {any} */ (this.plot).on);
    this.moving = true;
    await Plotly.react(this.plot, data, layout, CONFIG);
    this.moving = false;
    if (!isFirst) return;
    const plot = /** @type {any} */ (this.plot);
    plot.on("plotly_doubleclick", () => tell(null));
    plot.on("plotly_relayout", (/** @type {Record<string, any>} */ change) => {
      const piece = this.moving ? undefined : pieceOf(change);
      if (piece) tell(piece);
    });
  }
}

customElements.define("ef-chart", Chart);
