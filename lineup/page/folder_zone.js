// The drop zone of a folder: uploads it with the paths of its files, which are their labels.
const zone = () => element.querySelector(".lu-zone");

// The line of the status: text, with a progress bar if there is a share from 0 to 1, or the panel of an error.
function status(text, share = null, isProblem = false) {
  const make = (name, className, content = "") => Object.assign(document.createElement(name), { className, textContent: content });
  const parts = [make(isProblem ? "strong" : "p", "", isProblem ? "The images cannot be uploaded" : text)];
  if (isProblem) parts.push(make("p", "", text));
  if (share !== null) {
    const track = make("div", "lu-track"), fill = make("div", "lu-fill");
    fill.style.width = `${100 * share}%`;
    track.setAttribute("role", "progressbar");
    track.setAttribute("aria-label", "Upload");
    track.setAttribute("aria-valuenow", Math.round(100 * share));
    track.append(fill);
    parts.push(track);
  }
  const panel = make("div", isProblem ? "lu-panel lu-problem" : "");
  if (isProblem) panel.setAttribute("role", "alert");
  panel.append(...parts);
  element.querySelector(".lu-zone-status").replaceChildren(panel);
}
const problem = (text) => status(text, null, true);
let running = 0;  // the number of the last upload: a newer one replaces it

async function upload(files) {
  const number = ++running;
  files = visible(files);
  if (!files.length) return problem("There are no files in it.");
  const count = `${files.length.toLocaleString("en")} file${files.length === 1 ? "" : "s"}`;
  try {
    const id = await sendAll(zone().dataset.path, files, (share) => {
      const stage = share < 1 ? `Uploading ${count}: ${Math.floor(100 * share)}%` : `Reading ${count} …`;
      if (number === running) status(stage, share);
    });
    if (number !== running) return;
    status(`${count} uploaded.`);
    trigger("upload", { id });
  } catch (error) {
    if (number === running) problem(error.message);
  }
}

element.addEventListener("click", (event) => {
  const kind = event.target.closest("[data-choose]")?.dataset.choose;
  if (kind) element.querySelector(`[data-input=${kind}]`).click();
});
element.addEventListener("change", (event) => {
  if (!event.target.matches("[data-input]")) return;
  upload([...event.target.files].map((file) => [file.webkitRelativePath || file.name, file]));
  event.target.value = "";
});
// A drop beside the zone counts, too: the browser would leave the page, and open the file.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  zone().classList.add("lu-over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) zone().classList.remove("lu-over");
});
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  zone().classList.remove("lu-over");
  const files = dropped(event);
  if (!files) return;
  status("Reading the folder …");
  try {
    upload(await files);
  } catch (error) {
    problem(`The folder cannot be read: ${error.message}`);
  }
});
