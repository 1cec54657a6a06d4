// Takes images for a class in a dialog: it opens at "lineup-camera", and sends each as "lineup-images".
const EVERY_MS = 500;  // while the button is held
const dialog = element.querySelector("dialog"), video = dialog.querySelector("video");
const text = dialog.querySelector("[role=status]"), take = dialog.querySelector("[data-act=take]");
let key = "", count = 0, holding = null;

document.addEventListener("lineup-camera", async (event) => {
  ({ key } = event.detail);
  count = 0;
  dialog.querySelector("[data-class]").textContent = event.detail.name;
  text.textContent = "Starting the camera …";
  take.disabled = true;
  dialog.showModal();
  try {
    if (!(await openCamera(video))) return;
    text.textContent = "";
    take.disabled = false;
    take.focus();
  } catch (error) {
    text.textContent = error.message;
  }
});

async function shoot() {
  const blob = await frameOf(video);
  if (!blob) return;
  const file = new File([blob], `camera-${Date.now()}-${count}.jpg`, { type: "image/jpeg" });
  text.textContent = `${++count} image${count === 1 ? "" : "s"} taken`;
  document.dispatchEvent(new CustomEvent("lineup-images", { detail: { key, files: [[file.name, file]] } }));
}

function hold() {
  if (holding || take.disabled) return;
  shoot();
  holding = setInterval(shoot, EVERY_MS);
}

function release() {
  clearInterval(holding);
  holding = null;
}

take.addEventListener("pointerdown", (event) => { if (event.button === 0) hold(); });
["pointerup", "pointerleave", "pointercancel", "blur", "keyup"].forEach((name) => take.addEventListener(name, release));
take.addEventListener("contextmenu", (event) => event.preventDefault());  // of a long touch
take.addEventListener("keydown", (event) => {
  if (![" ", "Enter"].includes(event.key)) return;
  event.preventDefault();
  hold();
});
// a click that came from neither pointer nor key, as of a screen reader
take.addEventListener("click", (event) => { if (!event.detail && !holding && !event.pointerType) shoot(); });
dialog.querySelector("[data-act=done]").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });  // beside it
dialog.addEventListener("close", () => {
  release();
  closeCamera(video);
  document.dispatchEvent(new CustomEvent("lineup-camera-closed", { detail: { key } }));
});
