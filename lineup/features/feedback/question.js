// The question below an answer: a click on "Right", or what the image is, is sent once as {token, label}.
const WAIT_MS = 120;  // after a key, before the classes are searched
const find = (selector) => element.querySelector(selector);
const section = () => find("section[data-token]");
const input = () => find("#feedback-label");
const list = () => find("#feedback-classes");
const options = () => [...list().children];
let draft = null;  // what is typed for which question, as a new value of this component would lose it
let typed = "", active = -1, newest = 0, timer = 0, acted = "";

// --- sending ---

function send(label, act) {
  if (section().hasAttribute("aria-busy")) return;  // a double click
  acted = act;
  section().setAttribute("aria-busy", "true");
  closeList();
  trigger("select", { token: section().dataset.token, label });
}
function ended() {
  section()?.removeAttribute("aria-busy");
}
document.addEventListener("lineup-feedback-failed", () => {
  ended();
  announce("Your answer may not have been recorded: the connection was interrupted. Send it again.", true);
});

function announce(text, isShown = false) {
  if (isShown && section()) {
    find(".lu-refused")?.remove();
    const box = document.createElement("div");
    box.className = "lu-refused";
    box.textContent = text;
    find("#feedback-kept").before(box);
  }
  document.getElementById("announcer")?.replaceChildren(text);
}

// --- the field ---

function open() {
  find("[data-act=other]").setAttribute("aria-expanded", "true");
  find("form").hidden = false;
  keep();
  input().focus();
}
function cancel() {
  find("[data-act=other]").setAttribute("aria-expanded", "false");
  find("form").hidden = true;
  input().value = "";
  draft = null;
  closeList();
  find(".lu-refused")?.remove();
  find("[data-act=other]").focus();
}
function keep() {
  draft = { token: section().dataset.token, text: input().value };
}

// --- its classes ---

function closeList() {
  newest += 1;  // a search that is on its way is too late
  clearTimeout(timer);
  list().replaceChildren();
  list().hidden = true;
  mark(-1);
  input().setAttribute("aria-expanded", "false");
}
function mark(index) {
  active = index;
  options().forEach((each, at) => each.setAttribute("aria-selected", at === index));
  if (index < 0) return input().removeAttribute("aria-activedescendant");
  input().setAttribute("aria-activedescendant", options()[index].id);
  options()[index].scrollIntoView({ block: "nearest" });
}
function option({ label, synonyms }, index) {
  const each = document.createElement("li"), name = document.createElement("span");
  each.id = `feedback-class-${index}`;
  each.role = "option";
  each.ariaSelected = "false";
  each.dataset.label = name.textContent = label;
  each.append(name);
  if (synonyms) {
    const others = document.createElement("small");
    others.textContent = synonyms;
    each.append(" ", others);
  }
  return each;
}
async function search() {
  const number = (newest += 1), text = input().value.trim();
  const backbones = JSON.parse(section().dataset.backbones);
  if (!text || !backbones.length) return closeList();
  const query = new URLSearchParams([...backbones.map((name) => ["backbone", name]), ["text", text]]);
  const found = await fetch(`feedback/classes?${query}`).then((response) => (response.ok ? response.json() : []), () => []);
  if (number !== newest || !input()) return;  // the text, or the question, is another one now
  if (!found.length) return closeList();
  list().replaceChildren(...found.map(option));
  list().hidden = false;
  mark(-1);
  input().setAttribute("aria-expanded", "true");
}
// Show an option in the field, so that the Enter key sends what is to be read there; before the first is the text.
function move(step) {
  const count = options().length + 1;
  mark(((active + 1 + step + count) % count) - 1);
  input().value = active < 0 ? typed : options()[active].dataset.label;
  keep();
}

element.addEventListener("input", () => {
  typed = input().value;
  keep();
  clearTimeout(timer);
  timer = setTimeout(search, WAIT_MS);
});
element.addEventListener("keydown", (event) => {
  if (event.isComposing || !find("form") || find("form").hidden) return;
  if (event.key === "Escape") {
    event.preventDefault();
    cancel();
  } else if (event.target === input() && ["ArrowDown", "ArrowUp"].includes(event.key) && !list().hidden) {
    event.preventDefault();
    move(event.key === "ArrowDown" ? 1 : -1);
  }
});
element.addEventListener("pointerdown", (event) => {
  if (event.target.closest("[role=option]")) event.preventDefault();  // the field keeps the focus
});
element.addEventListener("click", ({ target }) => {
  const chosen = target.closest("[role=option]"), act = target.closest("[data-act]")?.dataset.act;
  if (chosen) {
    typed = input().value = chosen.dataset.label;
    keep();
    closeList();
    input().focus();
  } else if (act === "right") send(null, act);
  else if (act === "other") find("form").hidden ? open() : cancel();
  else if (act === "cancel") cancel();
  else if (act === "again") document.querySelector("#ask-again").click();
});
element.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input().value.trim();
  if (text) send(text, "send");
  else input().focus();
});

watch("value", () => {
  const shown = section();
  if (shown && draft?.token === shown.dataset.token) {  // it was refused: the text is still there
    find("[data-act=other]").setAttribute("aria-expanded", "true");
    find("form").hidden = false;
    input().value = draft.text;
  } else draft = null;
  if (!acted) return;
  const message = find("[data-announce]");
  const used = acted === "send" && draft ? input() : find(`[data-act=${acted}]`) ?? find("[data-act=other]");
  const next = used ?? find("[data-act=again]") ?? find("section");
  if ([null, document.body].includes(document.activeElement)) next?.focus({ preventScroll: true });
  if (message) announce(message.innerText.replace(/\s+/g, " ").trim());
  acted = "";
});
