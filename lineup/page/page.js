// Client-side behaviour: scrolling to a result, sorting the table, the link in the address bar.
(() => {
  // Scroll a new result into view: on a phone the user may have scrolled down to the examples, and a comparison
  // is rendered below the examples. An open list stays where it is: the user is about to choose from it.
  function scrollToResults() {
    const result = document.querySelector("#result");
    if (!result) {
      setTimeout(scrollToResults, 200);
      return;
    }
    let shown = "";
    new MutationObserver(() => {
      const answer = result.querySelector(".lu-verdict") ?? result.querySelector("section.lu-card");
      const text = answer?.innerText ?? "";
      if (!text || text === shown) return;
      shown = text;
      const { top } = answer.getBoundingClientRect();
      if (top >= 0 && top < window.innerHeight - 120) return;
      if (document.querySelector("[role=listbox]")) return;
      const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
      answer.scrollIntoView({ block: "start", behavior: reducedMotion ? "auto" : "smooth" });
    }).observe(result, { childList: true, subtree: true });
  }
  scrollToResults();

  // The comparison table: a click on a header sorts by its column, empty cells last.
  function sort(header) {
    const body = header.closest("table").tBodies[0];
    const column = [...header.parentNode.children].indexOf(header);
    const descending = header.getAttribute("aria-sort") === "ascending";
    const value = (row) => row.children[column].dataset.value;
    const order = (a, b) => (a - b || a.localeCompare(b, undefined, { numeric: true })) * (descending ? -1 : 1);
    const rows = [...body.rows].sort((a, b) => !value(a) - !value(b) || order(value(a), value(b)));
    [...header.parentNode.children].forEach((sibling) => sibling.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    body.append(...rows);
  }

  document.addEventListener("click", (event) => {
    const header = event.target.closest("#comparison-table thead th");
    if (header) sort(header);
  });

  // Write the link's parameters to the address bar; keep unrelated parameters.
  function show(link) {
    const query = new URLSearchParams(location.search);
    ["backbone", "top_k", "example"].forEach((key) => query.delete(key));
    for (const [key, value] of new URL(link).searchParams) query.append(key, value);
    history.replaceState(history.state, "", `?${query}`);
    // a Space runs in an iframe: the address bar is that of the page around it
    if (window.parent !== window) window.parent.postMessage({ queryString: `?${query}` }, "https://huggingface.co");
  }
  window.lineup = { show };
})();
