// @ts-check
// The lag table: j and k move over the groups, Enter opens one. The table is replaced by filters, so it is found anew.
import { rows } from "./shell.js";

let undo = () => {};
/** @type {HTMLElement | null} */
let bound = null;
const bind = () => {
  const body = document.getElementById("lag-rows");
  if (body === bound) return;
  undo();
  bound = body;
  undo = body ? rows(body) : () => {};
};
document.addEventListener("htmx:afterSettle", bind);
document.addEventListener("ef:refreshed", bind);
bind();
