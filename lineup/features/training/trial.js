// The trial: an image, or each frame of the camera, is sent to the server, and its answer shown as bars.
const EVERY_MS = 120;  // at least between two frames
const N_BARS = 6;
const part = (selector) => element.querySelector(selector);
let number = 0, live = false;  // of the last image: answers to earlier ones are not shown
let running = null;  // the video that shows the camera, or will: it may be gone from the page

function say(text) { part(".lu-trial-status").textContent = text; }

async function ask(blob, mine) {
  const { path, training } = part(".lu-trial").dataset;
  const query = new URLSearchParams({ training, backbone: part("[data-backbone]").value });
  const answer = await fetch(new URL(`${path}?${query}`, location.href.replace(/\/([?#].*)?$/, "$1")), { method: "POST", body: blob });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail ?? `The server answered ${answer.status}.`);
  if (mine === number) show(body);
}

// Few classes stay in their places, so that live bars do not jump; of many, the most probable come first.
function show({ answers }) {
  const list = part(".lu-bars"), labels = JSON.parse(list.dataset.labels);
  const shown = labels.length > N_BARS ? answers.slice(0, N_BARS) : labels.map((label) => answers.find((each) => each.label === label));
  while (list.children.length < shown.length) list.append(part("template").content.cloneNode(true));
  while (list.children.length > shown.length) list.lastElementChild.remove();
  shown.forEach(({ label, probability }, index) => {
    const row = list.children[index];
    row.classList.toggle("lu-first", label === answers[0].label);
    row.querySelector(".lu-label").textContent = label;
    row.querySelector(".lu-percent").textContent = `${(100 * probability).toFixed(0)}%`;
    row.querySelector(".lu-fill").style.width = `${100 * probability}%`;
  });
  say(live ? "" : `${answers[0].label}, ${(100 * answers[0].probability).toFixed(0)}%`);
}

function stop() {
  live = false;
  number++;
  if (running) closeCamera(running);
  running = null;
  if (!part("video")) return;
  part("video").hidden = true;
  const button = part("[data-act=camera]");
  button.textContent = "Use the camera";
  button.setAttribute("aria-pressed", "false");
}

async function start() {
  const video = part("video"), button = part("[data-act=camera]");
  say("Starting the camera …");
  running = video;
  try {
    if (!(await openCamera(video))) return;
  } catch (error) {
    running = null;
    return say(error.message);
  }
  live = true;
  const mine = ++number;
  video.hidden = false;
  part(".lu-trial-field img").hidden = true;
  button.textContent = "Stop the camera";
  button.setAttribute("aria-pressed", "true");
  say("");
  while (live && mine === number) {
    const pause = new Promise((done) => setTimeout(done, EVERY_MS));
    try {
      if (!document.hidden) await ask(await frameOf(video), mine);
    } catch (error) {
      if (mine === number) say(error.message);
    }
    await pause;
  }
}

let last = null;  // the image, to be asked again with another backbone
async function tryImage(file) {
  stop();
  const mine = ++number, image = part(".lu-trial-field img");
  last = file;
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  image.hidden = false;
  say("…");
  try {
    await ask(file, mine);
  } catch (error) {
    if (mine === number) say(error.message);
  }
}

element.addEventListener("click", ({ target }) => {
  const act = target.closest("[data-act]")?.dataset.act;
  if (act === "camera" && live) stop();
  else if (act === "camera" && !running) start();  // else the browser asks for permission
  if (act === "choose") part("input[type=file]").click();
});
element.addEventListener("change", ({ target }) => {
  if (target.matches("[data-backbone]") && last && !live) return tryImage(last);
  if (!target.matches("input[type=file]") || !target.files.length) return;
  tryImage(target.files[0]);
  target.value = "";
});
element.addEventListener("dragover", (event) => {
  event.preventDefault();
  event.stopPropagation();
  part(".lu-trial-field").classList.add("lu-over");
});
element.addEventListener("dragleave", () => part(".lu-trial-field").classList.remove("lu-over"));
element.addEventListener("drop", (event) => {
  event.preventDefault();
  event.stopPropagation();
  part(".lu-trial-field").classList.remove("lu-over");
  if (event.dataTransfer.files.length) tryImage(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
  if (!file || !element.contains(event.target)) return;
  event.preventDefault();
  tryImage(file);
});
watch("value", () => {
  stop();
  last = null;
});
