// @ts-check
// Sets the chosen theme before the first paint. A classic script on purpose: modules run too late.
try {
  const theme = new URLSearchParams(location.search).get("theme") || localStorage.getItem("ef-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  /* storage is blocked: the system's theme it is */
}
