// The owner's review: selects images by click, keys or rows, and sends what was decided to owner/review.
const review = document.querySelector("[data-review]");
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = review) => [...within.querySelectorAll(selector)];
const dialog = (name) => find(`[data-dialog=${name}]`);
const base = new URL("owner.js", find("script[src$='/owner.js']").src);  // the page's own address may end in a slash
const images = (n) => `${n.toLocaleString("en")} image${n === 1 ? "" : "s"}`;

const boxes = () => all(".lu-pick input");
const selected = () => boxes().filter((box) => box.checked);
const focused = () => document.activeElement?.closest(".lu-pick")?.querySelector("input");
let last = null;  // the box that was changed last: the other end of a range
let shift = false;
let busy = false;

function showCount() {
  const n = selected().length;
  find(".lu-bar").toggleAttribute("data-empty", !n);
  find("[data-count]").textContent = n.toLocaleString("en");
  for (const button of all(".lu-bar button")) button.disabled = busy || !n;
  for (const button of all(".lu-row-acts button")) button.disabled = busy;
  const total = boxes().length;
  find("[data-count-text]").textContent = n ? `of ${total.toLocaleString("en")} selected` : "selected";
  find("[data-act=all]").textContent = n && n === total ? "Select none" : "Select all on this page";
}

function check(some, value) {
  for (const box of some) box.checked = value;
  showCount();
}

function focusOn(box) {
  if (!box) return;
  for (const each of boxes()) each.tabIndex = -1;
  box.tabIndex = 0;
  if (document.activeElement !== box) box.focus({ preventScroll: true });
  box.closest(".lu-pick").scrollIntoView({ block: "nearest" });
}

// Returns the image in the row of the screen below (1) or above (−1), nearest to the same column.
function vertical(box, direction) {
  const at = box.getBoundingClientRect();
  const others = boxes().map((each) => [each, each.getBoundingClientRect()])
    .filter(([, box_]) => direction * (box_.top - at.top) > at.height / 2);
  const top = Math.min(...others.map(([, { top: each }]) => Math.abs(each - at.top)));
  const row = others.filter(([, { top: each }]) => Math.abs(Math.abs(each - at.top) - top) < 4);
  return row.sort(([, a], [, b]) => Math.abs(a.left - at.left) - Math.abs(b.left - at.left))[0]?.[0];
}

function move(key) {
  const some = boxes(), box = focused();
  if (!box) return focusOn(some.find((each) => each.tabIndex === 0) ?? some[0]);
  if (key === "ArrowDown" || key === "ArrowUp") return focusOn(vertical(box, key === "ArrowDown" ? 1 : -1));
  const step = key === "j" || key === "ArrowRight" ? 1 : -1;
  return focusOn(some[some.indexOf(box) + step]);
}

function remove(some) {
  const before = boxes(), gone = new Set(some), hadFocus = gone.has(focused());
  const index = before.findIndex((box) => gone.has(box));
  const next = before.slice(index).find((box) => !gone.has(box)) ?? before.findLast((box) => !gone.has(box));
  for (const box of some) {
    const section = box.closest(".lu-row");
    box.closest(".lu-pick").remove();
    find("[data-left]", section).textContent = all(".lu-pick", section).length;
    if (!find(".lu-pick", section)) section.remove();
  }
  for (const part of all(".lu-part")) {
    if (part.nextElementSibling.children.length) continue;
    part.nextElementSibling.remove();
    part.remove();
  }
  const pending = find(".lu-top nav [aria-current] b");
  pending.textContent = Math.max(0, Number(pending.textContent.replaceAll(",", "")) - some.length).toLocaleString("en");
  if (!next) return location.reload();
  showCount();
  if (hadFocus || document.activeElement === document.body) focusOn(next);
  else if (!boxes().some((box) => box.tabIndex === 0)) next.tabIndex = 0;
}

function showProblem(text) {
  const place = find("[data-problem]");
  place.replaceChildren();
  if (!text) return;
  const panel = document.createElement("div"), title = document.createElement("strong"), reason = document.createElement("p");
  panel.className = "lu-panel lu-problem";
  title.textContent = "Nothing was changed";
  reason.textContent = text;
  panel.append(title, reason);
  place.append(panel);
}

async function send(action, some, label) {
  if (busy || !some.length) return;
  busy = true;
  showCount();
  showProblem("");
  for (const box of some) box.closest(".lu-pick").classList.add("lu-leaving");
  try {
    const ids = some.map((box) => box.value);
    const body = JSON.stringify(label ? { action, ids, label } : { action, ids });
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(new URL("review", base), { method: "POST", headers, body });
    if (response.status === 401) return location.reload();  // the session has ended: to the sign-in
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.detail ?? `The server answered ${response.status}; try again.`);
    const verb = action === "accept" ? "accepted" : "rejected";
    const others = some.length - answer.done;
    const text = `${images(answer.done)} ${verb}${label ? ` as ${label}` : ""}.`;
    find("[data-done]").textContent = others ? `${text} ${images(others)} had been reviewed already.` : text;
    busy = false;
    remove(some);
  } catch (error) {
    const offline = error instanceof TypeError;  // of fetch
    showProblem(offline ? "The server does not respond; try again." : error.message);
  } finally {
    busy = false;
    for (const box of some) box.closest(".lu-pick")?.classList.remove("lu-leaving");
    if (review.isConnected) showCount();
  }
}

// Opens a dialog, and returns whether it was confirmed.
function confirmed(name, some) {
  const asked = dialog(name), from = document.activeElement;
  for (const place of all("[data-n]", asked)) place.textContent = some ? images(some.length) : "";
  asked.returnValue = "";
  asked.showModal();
  return new Promise((resolve) => {
    asked.addEventListener("close", () => {
      if (from?.isConnected) from.focus({ preventScroll: true });
      resolve(asked.returnValue === "yes");
    }, { once: true });
  });
}

// --- the label ---

const SHOWN = 50;
let labels = null;  // of the backbones, when they are needed first
const input = find("[role=combobox]"), options = find("[role=listbox]"), hint = find("[data-hint]");
let active = -1;

async function fetchLabels() {
  if (labels) return;
  labels = [];
  try {
    const response = await fetch(new URL("labels", base));
    if (response.ok) labels = (await response.json()).map((label) => [label, label.toLowerCase()]);
  } catch { /* any label can be written */ }
  if (!labels.length) labels = null;
  showOptions();
}

function showOptions() {
  const typed = input.value.trim().toLowerCase(), starting = [], within = [];
  for (const [label, lower] of typed ? labels ?? [] : []) {
    const at = lower.indexOf(typed);
    if (at === 0) starting.push(label);
    else if (at > 0) within.push(label);
  }
  const found = [...starting, ...within];
  options.replaceChildren(...found.slice(0, SHOWN).map((label, index) => {
    const option = document.createElement("li");
    option.role = "option";
    option.id = `label-option-${index}`;
    option.textContent = label;
    option.ariaSelected = "false";
    return option;
  }));
  options.hidden = !found.length;
  input.ariaExpanded = String(Boolean(found.length));
  const more = found.length - SHOWN;
  const isKnown = found.some((label) => label.toLowerCase() === typed);
  hint.textContent = !typed || isKnown || !labels ? "" : `“${input.value.trim()}” is no class of a backbone: it would be a label of your own.`;
  if (typed && more > 0) hint.textContent = `${more.toLocaleString("en")} more: write more letters.`;
  activate(-1);
}

function activate(index) {
  active = index;
  [...options.children].forEach((option, at) => { option.ariaSelected = String(at === index); });
  if (index < 0) input.removeAttribute("aria-activedescendant");
  else {
    input.setAttribute("aria-activedescendant", options.children[index].id);
    options.children[index].scrollIntoView({ block: "nearest" });
  }
}

function choose(option) {
  input.value = option.textContent;
  showOptions();
  options.hidden = true;
  input.ariaExpanded = "false";
  input.focus();
}

async function relabel(some) {
  if (!some.length) return;
  input.value = "";
  showOptions();
  fetchLabels();
  const isConfirmed = await confirmed("label", some);
  if (isConfirmed && input.value.trim()) await send("accept", some, input.value.trim());
}

async function reject(some) {
  if (some.length && await confirmed("reject", some)) await send("reject", some);
}

function enlarge(pick) {
  const box = find("input", pick), shown = dialog("enlarge");
  find("img", shown).src = new URL(`image/${box.value}`, base);
  find("img", shown).alt = box.ariaLabel;
  find("[data-facts]", shown).replaceChildren(find(".lu-facts", pick).cloneNode(true));
  confirmed("enlarge");
}

function targets() {  // of a key: the selected images, or the one with the focus
  const some = selected();
  return some.length ? some : [focused()].filter(Boolean);
}

const ACTS = {
  all: () => check(boxes(), selected().length < boxes().length),
  clear: () => check(boxes(), false),
  keys: () => confirmed("keys"),
  accept: () => send("accept", targets()),
  label: () => relabel(targets()),
  reject: () => reject(targets()),
  enlarge: (button) => enlarge(button.closest(".lu-pick")),
  row: (button) => {
    const some = all("input", button.closest(".lu-row"));
    check(some, some.some((box) => !box.checked));
  },
  "accept-row": (button) => send("accept", all("input", button.closest(".lu-row"))),
  "label-row": (button) => relabel(all("input", button.closest(".lu-row"))),
  "reject-row": (button) => reject(all("input", button.closest(".lu-row"))),
};
const KEYS = { a: "accept", c: "label", r: "reject", "?": "keys", Escape: "clear" };
const MOVES = new Set(["j", "k", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]);

function start() {
  boxes()[0].tabIndex = 0;
  check(boxes(), false);  // Firefox keeps them over a reload
  review.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (button && !busy) ACTS[button.dataset.act](button);
  });
  review.addEventListener("pointerdown", (event) => { shift = event.shiftKey; }, true);
  review.addEventListener("change", ({ target }) => {
    const some = boxes();
    if (shift && last?.isConnected) {
      const [from, to] = [some.indexOf(last), some.indexOf(target)].sort((a, b) => a - b);
      check(some.slice(from, to + 1), target.checked);
    }
    last = target;
    focusOn(target);
    showCount();
  });
  review.addEventListener("focusin", ({ target }) => { if (target.matches(".lu-pick input")) focusOn(target); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || find("dialog[open]")) return;
    const inside = review.contains(document.activeElement), { key } = event;
    shift = event.shiftKey;
    if (!inside && document.activeElement !== document.body) return;  // keys of other controls are theirs
    if (MOVES.has(key) && (focused() || "jk".includes(key))) move(key);
    else if (key === "Enter" && document.activeElement === focused()) enlarge(focused().closest(".lu-pick"));
    else if (KEYS[key] && !busy) ACTS[KEYS[key]]();
    else return;
    event.preventDefault();
  });
  input.addEventListener("input", showOptions);
  input.addEventListener("keydown", (event) => {
    const n = options.hidden ? 0 : options.children.length;
    if (event.key === "ArrowDown" && n) activate((active + 1) % n);
    else if (event.key === "ArrowUp" && n) activate((active - 1 + n) % n);
    else if (event.key === "Enter" && active >= 0 && n) choose(options.children[active]);
    else return;
    event.preventDefault();
  });
  options.addEventListener("pointerdown", (event) => event.preventDefault());  // the focus stays in the field
  options.addEventListener("click", ({ target }) => { if (target.role === "option") choose(target); });
  dialog("label").querySelector("[data-close]").addEventListener("click", () => dialog("label").close(""));
  find("form", dialog("label")).addEventListener("submit", (event) => {
    if (active >= 0 && !options.hidden) input.value = options.children[active].textContent;
    if (input.value.trim()) return;
    event.preventDefault();
    hint.textContent = "Write a label, or choose one.";
    input.focus();
  });
  showCount();
}

if (review) start();
