// @ts-check
// The page of a flow that is not known yet: on news of it, look whether it has arrived, and show it then.

let asking = false;
document.addEventListener("ef:news", async (event) => {
  if (/** @type {Element} */ (event.target).id !== "flow-unknown" || asking) return;
  asking = true;
  try {
    const answer = await fetch(location.href, { headers: { "HX-Request": "true" }, credentials: "same-origin", cache: "no-store" });
    if (answer.ok) location.reload();
  } catch {
    // The next news asks again.
  } finally {
    asking = false;
  }
});
