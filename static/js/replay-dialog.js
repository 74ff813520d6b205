// @ts-check
// The replay and archive dialogs, wherever they are opened: the typed number, and closing on success.
// Arrives with the dialog itself; without it the form works as it stands (the server checks the number).

/** @param {HTMLFormElement} form */
function paint(form) {
  const typed = form.querySelector("[data-must]");
  const go = form.querySelector("[data-go-replay]");
  if (!(typed instanceof HTMLInputElement) || !(go instanceof HTMLButtonElement)) return;
  go.setAttribute("aria-disabled", String(typed.value.trim() !== typed.dataset.must));
}

document.addEventListener("input", (event) => {
  const form = event.target instanceof Element && event.target.closest("form");
  if (form && event.target instanceof Element && event.target.matches("[data-must]")) paint(form);
});

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement)) return;
    const go = form.querySelector("[data-go-replay]");
    if (go?.getAttribute("aria-disabled") !== "true") return;
    event.preventDefault();
    event.stopPropagation();
    const typed = form.querySelector("[data-must]");
    if (typed instanceof HTMLInputElement) typed.focus();
  },
  true,
);

document.addEventListener("ef:opened", (event) => {
  const dialog = event.target;
  if (!(dialog instanceof HTMLDialogElement) || dialog.id !== "rp") return;
  const form = dialog.querySelector("form.rp-form");
  if (form instanceof HTMLFormElement) paint(form);
});

document.addEventListener("ef:close", (event) => {
  if (event.target instanceof Element) event.target.closest("dialog")?.close();
});

// The first dialog is open before this script that came with it runs.
const open = document.querySelector("#rp form.rp-form");
if (open instanceof HTMLFormElement) paint(open);
