// @ts-check
// The lines of a timeline: the tree at the left, and the arrows from each publish or delivery to what followed from it.

const SVG = "http://www.w3.org/2000/svg";

/** @param {HTMLElement} row */
const middle = (row) => row.offsetTop + row.offsetHeight / 2;
/** @param {HTMLElement} row */
const depth = (row) => Number(row.style.getPropertyValue("--dp") || 0);

/** Let each row's connector reach up to its parent or elder sibling. @param {HTMLElement} box */
export function trees(box) {
  const rows = /** @type {HTMLElement[]} */ ([...box.querySelectorAll(".wr:not([hidden])")]);
  /** @type {HTMLElement[]} last row seen of each depth */
  const last = [];
  for (const row of rows) {
    const deep = depth(row);
    const tree = /** @type {HTMLElement | null} */ (row.querySelector(".tree"));
    if (tree) {
      const above = last.slice(0, deep + 1).filter(Boolean).at(-1);
      if (above) {
        const y = middle(row) - middle(above) - (depth(above) < deep ? 9 : 0);
        tree.style.height = `${y}px`;
        tree.style.top = `${row.offsetHeight / 2 - y}px`;
      }
    }
    last.length = deep + 1;
    last[deep] = row;
  }
}

/** @param {string} d @param {string} cls */
function path(d, cls) {
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", d);
  if (cls) line.setAttribute("class", cls);
  return line;
}

/**
 * @param {HTMLElement} box @param {((ms: number) => number) | null} x null draws none
 * @param {number} wide @param {boolean} critical whether the critical path is coloured
 */
export function arrows(box, x, wide, critical) {
  const svg = box.querySelector(".arrows");
  if (!svg) return;
  svg.setAttribute("width", String(wide));
  svg.setAttribute("height", String(box.scrollHeight));
  const lines = [];
  for (const row of x ? /** @type {NodeListOf<HTMLElement>} */ (box.querySelectorAll("[data-parent]:not([hidden], .att)")) : []) {
    const parent = document.getElementById(row.dataset.parent || "");
    const bar = row.querySelector(".b:not(.cp)");
    if (!x || !parent || parent.hidden || !bar) continue;
    const publishing = row.querySelector(".b.pub");
    const at = x(Number((publishing || bar).getAttribute("data-a")));
    if (at < -5 || at > wide + 5) continue;
    const [from, to] = [middle(parent), middle(row)];
    const down = to > from ? 1 : -1;
    const cls = critical && row.classList.contains("path") ? "cp" : "";
    lines.push(path(`M${at} ${from + 5 * down}V${to - 7 * down}`, cls));
    lines.push(path(`M${at} ${to - 5 * down}l-3 ${-5 * down}h6z`, `hd ${cls}`.trim()));
  }
  svg.replaceChildren(...lines);
}
