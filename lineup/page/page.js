// What the browser does by itself. Gradio takes a paste only after two clicks on its image field:
// here an image pasted anywhere is handed to the field's own file input.
(() => {
  async function give(file) {
    const field = document.querySelector("#image");
    if (!field.querySelector("input[type=file]")) {  // the webcam is shown: back to files first
      field.querySelector("[data-testid=source-select] button")?.click();
      await new Promise((done) => setTimeout(done, 100));
    }
    const input = field.querySelector("input[type=file]");
    const files = new DataTransfer();
    files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  // An answer that comes out of sight is scrolled into view: on a phone the examples are below it, and a
  // comparison stands below the examples.
  function watch() {
    const result = document.querySelector("#result");
    if (!result) {
      setTimeout(watch, 200);
      return;
    }
    let shown = "";
    new MutationObserver(() => {
      const answer = result.querySelector(".lu-verdict") ?? result.querySelector("section.lu-card");
      const said = answer?.innerText ?? "";
      if (!said || said === shown) return;
      shown = said;
      const { top } = answer.getBoundingClientRect();
      if (top >= 0 && top < window.innerHeight - 120) return;
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      answer.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
    }).observe(result, { childList: true, subtree: true });
  }
  watch();

  // The table of a comparison: a click on a heading sorts by its column, empty cells last.
  function sort(head) {
    const body = head.closest("table").tBodies[0];
    const column = [...head.parentNode.children].indexOf(head);
    const down = head.getAttribute("aria-sort") === "ascending";
    const value = (row) => row.children[column].dataset.value;
    const order = (a, b) => (a - b || a.localeCompare(b, undefined, { numeric: true })) * (down ? -1 : 1);
    const rows = [...body.rows].sort((a, b) => !value(a) - !value(b) || order(value(a), value(b)));
    [...head.parentNode.children].forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  }

  document.addEventListener("click", (event) => {
    const head = event.target.closest("#figures thead th");
    if (head) sort(head);
  });

  // The address bar says what the page shows, and keeps what others have put there.
  function show(link) {
    const said = new URLSearchParams(location.search);
    ["backbone", "top_k", "example"].forEach((key) => said.delete(key));
    for (const [key, value] of new URL(link).searchParams) said.append(key, value);
    history.replaceState(history.state, "", `?${said}`);
    // a Space is a frame: the address that its visitor sees is the frame's around it
    if (window.parent !== window) window.parent.postMessage({ queryString: `?${said}` }, "https://huggingface.co");
  }
  window.lineup = { show };

  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (file) {
      event.preventDefault();
      give(file);
    }
  });
})();
