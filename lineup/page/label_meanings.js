// The meanings of labels: a choice is sent as {label, meaning}, a list of WordNet ids and names of classes.
const find = (kind, label) => [...element.querySelectorAll(`${kind}[data-label]`)].find((each) => each.dataset.label === label);
let focused = null;  // the label whose field has the focus, which a new value would lose
let unfolded = [];  // whether each part that folds is open

function send(label, meaning) {
  focused = label;
  unfolded = [...element.querySelectorAll("details[data-keep]")].map((each) => each.open);
  trigger("select", { label, meaning });
}

element.addEventListener("change", (event) => {
  const { label } = event.target.dataset;
  if (!label) return;
  const form = find("form", label);
  form.hidden = event.target.value !== "other";
  if (form.hidden) send(label, JSON.parse(event.target.value));
  else form.querySelector("input").focus();
});
element.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = event.target.querySelector("input").value.trim();
  if (text) send(event.target.dataset.label, [text]);
});
watch("value", () => {
  if (focused === null) return;
  element.querySelectorAll("details[data-keep]").forEach((each, index) => { each.open = unfolded[index] ?? each.open; });
  find("select", focused)?.focus({ preventScroll: true });
  focused = null;
});
