// @ts-check
// The list of flows: j and k move, Enter opens. The rows are looked up anew each time, so live updates do not matter.

import { rows } from "../shell.js";

let undo = () => {};
/** @type {Element | null} */
let body = null;

function attach() {
  const now = document.getElementById("flow-rows");
  if (now === body) return;
  undo();
  body = now;
  undo = now ? rows(now) : () => {};
}

attach();
document.addEventListener("ef:refreshed", attach);
