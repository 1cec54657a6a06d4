// Corrections of the verdict's images are sent as {action, key, image, target}, as those of the classes are.
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (!button) return;
  const { act, key, image, target } = button.dataset;
  button.closest("li").classList.add("lu-done");
  button.parentElement.querySelectorAll("button").forEach((each) => { each.disabled = true; });
  trigger("select", { action: act, key, image, target: target ?? "" });
});
