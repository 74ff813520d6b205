// @ts-check
// The window onto a drawing: pan, zoom, fit, minimap. Knows nothing of what is drawn.

const SMALLEST = 0.2;
const LARGEST = 3;
const SMALL_SCREEN = 700;

export class Viewport {
  k = 1;
  x = 0;
  y = 0;
  /** Whether the last press moved the picture: then it was no click. */
  dragged = false;
  #stop = new AbortController();
  /** @type {Map<number, PointerEvent>} */ #touches = new Map();

  /** @param {HTMLElement} root @param {SVGSVGElement} picture */
  constructor(root, picture) {
    this.root = root;
    this.picture = picture;
    picture.removeAttribute("viewBox");
    const on = { signal: this.#stop.signal };
    picture.addEventListener("wheel", (event) => this.#wheel(event), { passive: false, ...on });
    picture.addEventListener("pointerdown", (event) => this.#press(event), on);
    picture.addEventListener("dragstart", (event) => event.preventDefault(), on);
    addEventListener("pointermove", (event) => this.#move(event), on);
    addEventListener("pointerup", (event) => this.#release(event), on);
    addEventListener("pointercancel", (event) => this.#release(event), on);
    this.mini?.addEventListener("pointerdown", (event) => this.#jump(event), on);
    this.mini?.addEventListener("pointermove", (event) => event.buttons && this.#jump(event), on);
  }

  stop() {
    this.#stop.abort();
  }

  get mini() {
    return /** @type {SVGSVGElement | null} */ (this.root.querySelector("#tp-mini"));
  }

  get bounds() {
    const [x, y, w, h] = (this.picture.dataset.bounds || "0 0 1 1").split(" ").map(Number);
    return { x, y, w, h };
  }

  get size() {
    return { w: this.picture.clientWidth || 1, h: this.picture.clientHeight || 1 };
  }

  fit() {
    const { x, y, w, h } = this.bounds;
    const { w: width, h: height } = this.size;
    const whole = Math.min(width / (w + 16), height / (h + 24), 1.25);
    // On a phone the whole would be unreadable: begin at the left, as high as fits.
    const k = width < SMALL_SCREEN ? Math.max(whole, Math.min(height / (h + 24), 0.9), 0.55) : whole;
    this.k = k;
    this.x = width < SMALL_SCREEN && w * k > width ? 8 - x * k : (width - w * k) / 2 - x * k;
    this.y = Math.max(8, (height - h * k) / 2) - y * k;
    this.paint();
  }

  /** @param {number} factor @param {number} [cx] @param {number} [cy] */
  zoom(factor, cx = this.size.w / 2, cy = this.size.h / 2) {
    const k = Math.max(SMALLEST, Math.min(LARGEST, this.k * factor));
    this.x = cx - ((cx - this.x) * k) / this.k;
    this.y = cy - ((cy - this.y) * k) / this.k;
    this.k = k;
    this.paint();
  }

  paint() {
    const layer = this.picture.querySelector("#tp-vp");
    layer?.setAttribute("transform", `translate(${this.x.toFixed(1)} ${this.y.toFixed(1)}) scale(${this.k.toFixed(4)})`);
    this.picture.classList.toggle("z-hi", this.k > 1.35);
    for (const label of /** @type {NodeListOf<SVGElement>} */ (this.picture.querySelectorAll(".lbl"))) {
      label.setAttribute("transform", `translate(${label.dataset.x} ${label.dataset.y}) scale(${(1 / this.k).toFixed(4)})`);
    }
    const paper = this.picture.parentElement;
    if (paper) {
      paper.style.backgroundPosition = `${this.x}px ${this.y}px`;
      paper.style.backgroundSize = `${20 * this.k}px ${20 * this.k}px`;
    }
    const seen = this.mini?.querySelector(".vp");
    if (seen) {
      seen.setAttribute("x", String(-this.x / this.k));
      seen.setAttribute("y", String(-this.y / this.k));
      seen.setAttribute("width", String(this.size.w / this.k));
      seen.setAttribute("height", String(this.size.h / this.k));
    }
  }

  /** Moves only if the item would be hidden. @param {Element} item */
  reveal(item) {
    const at = item.getBoundingClientRect();
    const frame = this.picture.getBoundingClientRect();
    const side = this.root.querySelector("#tp-side");
    const covering = side && !side.hasAttribute("hidden") && getComputedStyle(side).position === "absolute" ? side.getBoundingClientRect() : null;
    const right = covering && covering.left > frame.left + 40 ? covering.left : frame.right;
    const bottom = covering && covering.top > frame.top + 40 ? covering.top : frame.bottom;
    if (at.left < frame.left + 20) this.x += frame.left + 50 - at.left;
    else if (at.right > right - 20) this.x -= at.right - right + 50;
    if (at.top < frame.top + 20) this.y += frame.top + 40 - at.top;
    else if (at.bottom > bottom - 20) this.y -= at.bottom - bottom + 40;
    this.paint();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    const frame = this.picture.getBoundingClientRect();
    if (event.ctrlKey || (!event.deltaX && Math.abs(event.deltaY) > 40)) {
      this.zoom(Math.exp(-event.deltaY * 0.0016), event.clientX - frame.left, event.clientY - frame.top);
    } else {
      this.x -= event.deltaX;
      this.y -= event.deltaY;
      this.paint();
    }
  }

  /** @param {PointerEvent} event */
  #press(event) {
    this.#touches.set(event.pointerId, event);
    this.dragged = false;
    this.from = { px: event.clientX, py: event.clientY, x: this.x, y: this.y };
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (!this.#touches.has(event.pointerId) || !this.from) return;
    if (this.#touches.size === 2) {
      const before = [...this.#touches.values()];
      this.#touches.set(event.pointerId, event);
      const [a, b] = [...this.#touches.values()];
      const frame = this.picture.getBoundingClientRect();
      const was = Math.hypot(before[0].clientX - before[1].clientX, before[0].clientY - before[1].clientY) || 1;
      const is = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
      this.dragged = true;
      this.zoom(is / was, (a.clientX + b.clientX) / 2 - frame.left, (a.clientY + b.clientY) / 2 - frame.top);
      return;
    }
    const dx = event.clientX - this.from.px;
    const dy = event.clientY - this.from.py;
    if (!this.dragged && Math.abs(dx) + Math.abs(dy) <= 4) return;
    this.dragged = true;
    this.picture.classList.add("drag");
    this.x = this.from.x + dx;
    this.y = this.from.y + dy;
    this.paint();
  }

  /** @param {PointerEvent} event */
  #release(event) {
    this.#touches.delete(event.pointerId);
    this.picture.classList.remove("drag");
  }

  /** @param {PointerEvent} event */
  #jump(event) {
    const frame = this.mini?.getBoundingClientRect();
    if (!frame) return;
    const { x, y, w, h } = this.bounds;
    this.x = this.size.w / 2 - (x + ((event.clientX - frame.left) / frame.width) * w) * this.k;
    this.y = this.size.h / 2 - (y + ((event.clientY - frame.top) / frame.height) * h) * this.k;
    this.paint();
  }
}
