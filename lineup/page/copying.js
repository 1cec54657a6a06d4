// Copies the code beside a button.
element.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const code = button.closest(".lu-code").querySelector("code");
  try {
    await navigator.clipboard.writeText(code.innerText);
    button.textContent = "Copied";
  } catch {  // not allowed, as without HTTPS: select it instead
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
});
