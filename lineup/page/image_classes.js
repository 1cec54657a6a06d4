// The classes: what is done to them is sent as {action, key, …}, and images are uploaded before. The server renders
// them again after each step; what it cannot know, as the focus and a name that is being typed, is kept here.
const STORED = "lineup-classes";  // the id of this tab's collection: it survives a reload
const uploading = new Map();  // the number of images that are on their way to each class
const drafts = new Map();  // names that are being typed
let active = "", focus = null, wantsNewest = false;

const root = () => element.querySelector(".lu-classes");
const card = (key) => element.querySelector(`.lu-class[data-key="${CSS.escape(key)}"]`);
const cards = () => [...element.querySelectorAll(".lu-class")];
const keyOf = (node) => node.closest?.(".lu-class")?.dataset.key ?? "";
const send_ = (action, values) => trigger("select", { action, ...values });

const nImages = (n) => `${n} image${n === 1 ? "" : "s"}`;

function say(key, text) {
  const line = card(key)?.querySelector(".lu-class-status");
  if (line) line.textContent = text;
}
function count(key, n) {
  uploading.set(key, (uploading.get(key) ?? 0) + n);
  sayUploading(key);
}
function sayUploading(key) {
  const n = uploading.get(key);
  if (n) say(key, `Uploading ${nImages(n)} …`);
}

// Uploads follow one another, so that each adds to the last. One that is `continued` began during another.
let queue = Promise.resolve(), nUploads = 0;
function add(key, files) {
  files = visible(files);
  if (!files.length || !card(key)) return;
  const continued = nUploads ? "1" : "";
  nUploads++;
  count(key, files.length);
  queue = queue.then(async () => {
    try {
      const upload = await sendAll(root().dataset.path, files, (share) => {
        if (uploading.get(key) === files.length) say(key, `Uploading ${nImages(files.length)}: ${Math.floor(100 * share)}%`);
      });
      say(key, `Adding ${nImages(files.length)} …`);  // until the server renders the classes again
      send_("add-images", { key, upload, continued });
    } catch (error) {
      say(key, "");
      send_("problem", { key, text: error.message, continued });
    }
    nUploads--;
    count(key, -files.length);
  });
}

const ACTS = {
  "add-class": () => { wantsNewest = true; send_("add-class"); },
  remove: (button) => {
    const key = keyOf(button), { image } = button.dataset;
    const isEmpty = !card(key).querySelector(".lu-thumbs") && !uploading.get(key);
    const isSure = image || button.dataset.asked || isEmpty;
    if (isSure) {
      button.disabled = true;  // a second click would remove what is gone; it is rendered again
      return send_("remove", { key, image: image ?? "" });
    }
    button.dataset.asked = "1";  // a second click removes the images, too
    const before = button.textContent;
    button.textContent = uploading.get(key) ? "Remove all?" : button.dataset.sure;
    button.addEventListener("blur", () => { delete button.dataset.asked; button.textContent = before; }, { once: true });
    button.focus();
  },
  choose: (button) => { active = keyOf(button); element.querySelector("input[type=file]").click(); },
  camera: (button) => {
    const key = keyOf(button), name = card(key).querySelector("[data-name]").value;
    document.dispatchEvent(new CustomEvent("lineup-camera", { detail: { key, name } }));
  },
};

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button) ACTS[button.dataset.act](button);
});
element.addEventListener("change", (event) => {
  const { target } = event;
  if (target.matches("input[type=file]")) {
    add(active, [...target.files].map((file) => [file.name, file]));
    target.value = "";
  } else if (target.matches("[data-name]")) rename(target);
});

function rename(input) {
  drafts.delete(keyOf(input));
  if (input.value === input.defaultValue) return;  // the Enter key and the end of the focus are one change
  input.defaultValue = input.value;
  send_("rename", { key: keyOf(input), name: input.value });
}
element.addEventListener("input", ({ target }) => { if (target.matches("[data-name]")) drafts.set(keyOf(target), target.value); });
element.addEventListener("keydown", (event) => {
  if (!event.target.matches("[data-name]")) return;
  if (event.key === "Enter") rename(event.target);
  if (event.key === "Escape") {
    event.target.value = event.target.defaultValue;
    drafts.delete(keyOf(event.target));
  }
});
element.addEventListener("error", ({ target }) => target.closest?.(".lu-thumbs li")?.classList.add("lu-unshown"), true);

// Drops on a card; those beside the cards go to the zone.
const over = (key) => cards().forEach((each) => each.classList.toggle("lu-over", each.dataset.key === key));
element.addEventListener("dragover", (event) => {
  if (!keyOf(event.target)) return over("");
  event.preventDefault();
  event.stopPropagation();
  over(keyOf(event.target));
});
document.addEventListener("dragover", (event) => { if (!element.contains(event.target)) over(""); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(""); });
element.addEventListener("drop", async (event) => {
  const key = keyOf(event.target);
  over("");
  if (!key) return;
  event.preventDefault();
  event.stopPropagation();
  try {
    add(key, await dropped(event) ?? []);
  } catch (error) {
    send_("problem", { key, text: `The files cannot be read: ${error.message}` });
  }
});

// A paste goes to the class with the focus, or else the last one that was used, or the first.
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
  const key = keyOf(event.target) || (card(active) ? active : cards()[0]?.dataset.key);
  if (!files.length || !key || event.target.closest?.(".lu-trial") || event.defaultPrevented) return;
  event.preventDefault();
  const stamp = Date.now();
  add(key, files.map((file, index) => [`pasted-${stamp}-${index}-${file.name}`, file]));
});
element.addEventListener("pointerdown", ({ target }) => { active = keyOf(target) || active; });
document.addEventListener("lineup-images", ({ detail }) => add(detail.key, detail.files));
document.addEventListener("lineup-camera-closed", ({ detail }) => card(detail.key)?.querySelector("[data-act=camera]").focus());

document.addEventListener("focusin", ({ target }) => {
  if (!element.contains(target)) { focus = null; return; }
  const key = keyOf(target), { act, image } = target.dataset;
  const selector = act ? `[data-act="${act}"]${image ? "[data-image]" : ":not([data-image])"}` : "[data-name]";
  const siblings = key ? [...card(key).querySelectorAll(selector)] : [target];
  focus = { key, selector, index: siblings.indexOf(target) };
  active = key || active;
});

function restoreFocus() {
  if (wantsNewest) {
    const name = cards().at(-1)?.querySelector("[data-name]");
    wantsNewest = false;
    name?.focus();
    return name?.select();
  }
  if (!focus || ![null, document.body].includes(document.activeElement)) return;
  const inside = card(focus.key) ?? (focus.key ? cards()[0] : root());
  const found = inside ? [...inside.querySelectorAll(focus.selector)] : [];
  const next = found[Math.min(focus.index, found.length - 1)] ?? inside?.querySelector("button");
  next?.focus({ preventScroll: true });
  if (next?.matches("[data-name]")) next.setSelectionRange(next.value.length, next.value.length);
}

watch("value", () => {
  if (!root()) return;
  try {
    sessionStorage.setItem(STORED, Number(root().dataset.images) ? root().dataset.collection : "");
  } catch { /* not allowed in this frame: a reload begins anew */ }
  [...uploading.keys()].forEach(sayUploading);
  drafts.forEach((text, key) => {
    const input = card(key)?.querySelector("[data-name]");
    if (input) input.value = text;
  });
  restoreFocus();
});
