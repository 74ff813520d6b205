// @ts-check
// Leaves the page that says how to begin as soon as something has arrived.
document.addEventListener("ef:refreshed", () => {
  if (document.querySelector("#ov-waiting[data-arrived]")) location.reload();
});
