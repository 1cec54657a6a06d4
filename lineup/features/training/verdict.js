// Corrections of the verdict's images are sent as {action, key, image, target}, as those of the classes are. The server
// renders the verdict again after each: it says what has become of the image.
let asked = -1;  // the place of the item whose button had the focus
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (!button) return;
  const { act, key, image, target } = button.dataset, item = button.closest("li");
  asked = [...element.querySelectorAll("li")].indexOf(item);
  button.parentElement.querySelectorAll("button").forEach((each) => { each.disabled = true; });  // a second click
  trigger("select", { action: act, key, image, target: target ?? "" });
});
watch("value", () => {
  const items = [...element.querySelectorAll("li")], next = [...items.slice(asked), ...items.slice(0, asked).reverse()];
  const isLost = asked >= 0 && [null, document.body].includes(document.activeElement);
  asked = -1;
  if (isLost) next.map((item) => item.querySelector("[data-act]")).find(Boolean)?.focus({ preventScroll: true });
});
