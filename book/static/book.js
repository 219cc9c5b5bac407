// Small repairs that need a script; the page reads well without them.

// A wide equation or table scrolls by itself: let the keyboard reach it, but only where there is something to scroll.
const reachable = () => {
  /** @type {NodeListOf<HTMLElement>} */
  const boxes = document.querySelectorAll(".math-block, .pa-equation, .pa-costs, .pst-scrollable-table-container, .highlight pre, .output pre");
  for (const box of boxes) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
};
addEventListener("resize", reachable);

// The page has arrived: once its first figure has been painted, lay out the sections that were put off.
const settle = (/** @type {number} */ waited) => {
  if (document.querySelector("figure[data-figure]") && !document.querySelector("figure[data-live]") && waited < 120) {
    requestAnimationFrame(() => settle(waited + 1));
    return;
  }
  requestAnimationFrame(() =>
    setTimeout(() => {
      document.documentElement.classList.remove("arriving");
      reachable();
    }),
  );
};
addEventListener("load", () => settle(0));

// Paper is white: print in light colours, whatever the screen shows.
const root = document.documentElement;
addEventListener("beforeprint", () => {
  root.dataset.screenTheme = root.dataset.theme;
  root.dataset.theme = "light";
});
addEventListener("afterprint", () => (root.dataset.theme = root.dataset.screenTheme));

// The form for an erratum opens with the page it is about.
const form = /** @type {HTMLFormElement | null} */ (document.querySelector("form.erratum"));
if (form) {
  const page = new URLSearchParams(location.search).get("page");
  const field = /** @type {HTMLInputElement} */ (form.elements.namedItem("page"));
  if (page) field.value = page;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const lines = [...new FormData(form)].map(([name, text]) => `${name}: ${text}`);
    const output = /** @type {HTMLOutputElement} */ (form.querySelector("output"));
    const edition = document.querySelector(".extra_footer time")?.getAttribute("datetime") ?? "unknown";
    const report = [`edition: ${edition}`, ...lines].join("\n");
    try {
      await navigator.clipboard.writeText(report);
      output.textContent = "Copied. Paste it into a message to whoever publishes your edition.";
    } catch {
      output.textContent = report;
    }
  });
}
