// The image to label: steps are sent as {action, image, keys}. Keys count only while the focus is inside.
let busy = 0, refocus = false;
const section = () => element.querySelector(".lu-labelling");
const choices = () => [...element.querySelectorAll("[data-key]")];
const act = (name) => element.querySelector(`[data-act=${name}]`);
const isSeveral = () => act("several")?.getAttribute("aria-pressed") === "true";

function send(action, keys = []) {
  if (Date.now() - busy < 5000) return;  // a double click would label the next image, too
  busy = Date.now();
  refocus = element.contains(document.activeElement);
  trigger("select", { action, image: Number(section().dataset.image), keys });
}

function several(on) {
  act("several").setAttribute("aria-pressed", on);
  act("save").hidden = !on;
  if (!on) choices().forEach((each) => each.setAttribute("aria-pressed", false));
}

function choose(button, more) {
  if (!more && !isSeveral()) return send("label", [button.dataset.key]);
  several(true);
  button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
}

function save() {
  const keys = choices().filter((each) => each.getAttribute("aria-pressed") === "true").map((each) => each.dataset.key);
  if (keys.length) send("label", keys);
}

const ACTS = {
  neither: () => send("label"), later: () => send("later"), undo: () => send("undo"), save,
  several: () => several(!isSeveral()),
};

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.disabled) return;
  if (button.dataset.key !== undefined) choose(button, event.shiftKey);
  else ACTS[button.dataset.act]?.();
});
element.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || !section()) return;
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1];
  const name = digit === "0" ? "neither" : { l: "later", u: "undo" }[event.key.toLowerCase()];
  const button = digit > 0 ? choices()[digit - 1] : null;
  if (button) choose(button, event.shiftKey);
  else if (name && act(name) && !act(name).disabled) ACTS[name]();
  else if (event.key === "Enter" && isSeveral() && !event.target.closest("button")) save();
  else return;
  event.preventDefault();
});
// After each answer of the server the focus stays inside, unless it was moved elsewhere meanwhile.
watch("value", () => {
  busy = 0;
  if (act("several")) several(false);
  if (refocus && document.activeElement === document.body) section()?.focus({ preventScroll: true });
});
document.addEventListener("focusin", (event) => { if (!element.contains(event.target)) refocus = false; });
