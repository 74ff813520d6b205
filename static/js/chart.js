// @ts-check
// <ef-chart data-src="…figure.json" data-plotly="…plotly.min.js" data-live="lag:3" data-label="…"> a sparkline </ef-chart>
// Draws the figure that data-src answers with, again on news (ef:news) and when the theme changes. Until then, and when
// anything fails, what the server rendered inside stays. Colours arrive as the theme's tokens: "var(--bar)", "var(--bar) 12%".

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

class Chart extends HTMLElement {
  constructor() {
    super();
    /** @type {AbortController | null} */
    this.listening = null;
    /** @type {any} */
    this.figure = null;
    /** @type {HTMLElement | null} */
    this.plot = null;
    this.asking = false;
    this.again = false;
    /** @type {ResizeObserver | null} */
    this.sized = null;
  }

  connectedCallback() {
    this.listening = new AbortController();
    const { signal } = this.listening;
    this.addEventListener("ef:news", () => this.ask(), { signal });
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

  async ask() {
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    try {
      const answer = await fetch(this.dataset.src || "", { headers: { Accept: "application/json" }, cache: "no-store" });
      if (!answer.ok || answer.redirected) return;
      this.figure = await answer.json();
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
      this.replaceChildren(this.plot);
      const plot = this.plot;
      this.sized = new ResizeObserver(() => Plotly.Plots.resize(plot));
      this.sized.observe(this);
    }
    const { data, layout } = themer(this)(this.figure);
    layout.font.family = getComputedStyle(this).fontFamily;
    await Plotly.react(this.plot, data, layout, { displayModeBar: false, responsive: false });
  }
}

customElements.define("ef-chart", Chart);
