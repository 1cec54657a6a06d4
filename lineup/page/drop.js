// One way for every image from the browser into Gradio's image field: dropped anywhere on the page, pasted, chosen in
// the file dialog, or read from the clipboard. Gradio's own handler of a drop clears the field, waits for a task, and
// then finds the drop's files gone; and it judges a file by its MIME type, where the server judges it by its content.
(() => {
  const { say, clear } = window.lineup;
  const field = () => document.querySelector("#image");
  const pause = (delay_ms) => new Promise((done) => setTimeout(done, delay_ms));

  const ADDRESS = /^\s*(https?|ftp|file|blob|data):/i;
  const CAMERA = {
    NotAllowedError: "The browser or the system does not allow it. Allow the camera for this page, or drop an image.",
    NotFoundError: "The browser finds none. Connect a camera, or drop an image.",
    NotReadableError: "Another program may be using it. Close that program, or drop an image.",
  };
  const INSECURE = "Browsers allow it on pages served over HTTPS only";

  // --- into the field ---

  let latest;    // the image that counts: a newer one replaces an older one that has not arrived yet
  let current;   // the image that the field is uploading
  let passing = false;

  function stop() {
    latest = undefined;
    current?.abort.abort();
  }

  const fileInput = () => field().querySelector("input[type=file]");

  // Put a file into the field, and show a note about it.
  async function use(file, note) {
    const max_bytes = window.gradio_config?.max_file_size ?? Infinity;
    if (file.size > max_bytes) {
      const limit = max_bytes / 1e6;  // the sentence is the server's
      say("The image is too large", `image: expected at most ${limit} MB; got more; send a smaller image`);
      return;
    }
    window.lineupRequests.awaitImage();  // the upload follows after a while
    stop();
    clear();
    if (note) say(...note, { kind: "notice" });
    latest = file;
    await Promise.race([current?.settled, pause(current ? 2000 : 0)]);
    field().querySelector("[data-testid=source-select] button:first-child:not(.selected)")?.click();  // not the camera
    do await pause(20); while (latest === file && !fileInput());  // there is none while the field uploads
    if (latest !== file) return;
    const abort = new AbortController();
    current = { file, abort };
    current.settled = new Promise((done) => (current.settle = done));
    const files = new DataTransfer();
    // Gradio passes on what is said to be an image
    files.items.add(file.type.startsWith("image/") ? file : new File([file], file.name, { type: "image/unknown" }));
    const input = fileInput();
    input.files = files.files;
    passing = true;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    passing = false;
  }

  // How the upload with this body is stopped and repeated, if it is the field's.
  window.lineup.uploading = (body) => {
    const upload = current, sent = body?.get?.("files");
    if (!upload || sent?.name !== upload.file.name || sent.size !== upload.file.size) return {};
    return { signal: upload.abort.signal, retry: () => use(upload.file), settled: upload.settle };
  };

  // A file that the browser cannot show would leave an empty frame: style.css writes its name into it.
  function onPreview({ target, type }) {
    const frame = target.closest?.("#image .image-frame");
    if (!frame) return;
    if (type === "load") delete frame.dataset.unshown;
    else frame.dataset.unshown = decodeURIComponent(target.src.split("/").pop());
  }
  for (const type of ["load", "error"]) document.addEventListener(type, onPreview, true);

  // How the image in the field is classified again, if it came from here.
  window.lineup.again = () => {
    const file = field()?.querySelector(".image-frame") && latest;
    return file && (() => use(file));
  };

  // --- from a drop or the clipboard ---

  async function isImage(file) {
    return file.type.startsWith("image/") || createImageBitmap(file).then(() => true, () => false);
  }

  async function first(files) {
    for (const file of files) if (await isImage(file)) return file;
    return files[0];
  }

  // Take what was dropped or pasted. It is read at once: it is empty when the event's task ends.
  async function take(data) {
    const entries = [...(data.items ?? [])].filter((item) => item.kind === "file");
    const folders = entries.map((item) => item.webkitGetAsEntry?.()?.isDirectory ?? false);
    const files = [...data.files].filter((_, index) => !folders[index]);
    const text = data.getData("text/uri-list") || data.getData("text/plain"), html = data.getData("text/html");
    if (files.length === 1) use(files[0]);
    else if (files.length) {
      const file = await first(files);
      use(file, [`${files.length} files at once`, `${file.name} is used: the page takes one image at a time.`]);
    } else if (folders.includes(true)) say("That is a folder", "Drop an image of it.");
    else if (ADDRESS.test(text) || /<img\b/i.test(html))
      say("That is an address, not an image", "Addresses are not fetched. Save the image, and drop the file or choose it.");
    else say(text || html ? "That is text, not an image" : "That holds no image", "Drop, paste or choose an image file.");
  }

  // --- drops ---

  let dragged;  // the element of this page that is being dragged
  document.addEventListener("dragstart", (event) => (dragged = event.target), true);
  document.addEventListener("dragend", () => (dragged = undefined), true);

  function show(isOver) {
    document.querySelector(".gradio-container").classList.toggle("lu-dragging", isOver);
  }

  const TEXT_FIELDS = "textarea, [contenteditable], input:not([type=range], [type=checkbox], [type=radio])";
  const isText = (target) => target.closest?.(TEXT_FIELDS);

  // Whether a drop is for another file field of the page.
  function isForAnother(target) {
    const block = (target.closest ? target : target.parentElement).closest(".block");
    return block && !block.contains(field()) && !field().contains(block) && block.querySelector("input[type=file]");
  }

  function onDrag(event) {
    const { dataTransfer, target, type } = event;
    if (!field() || !dataTransfer || (isText(target) && !dataTransfer.types.includes("Files"))) return;
    if (event.eventPhase === Event.CAPTURING_PHASE ? isForAnother(target) : event.defaultPrevented) return;
    event.preventDefault();  // accepts the drop, and keeps the browser from opening the file
    event.stopPropagation();
    show(type !== "drop" && !dragged);
    if (type !== "drop") dataTransfer.dropEffect = "copy";
    else if (!dragged) take(dataTransfer);
    else dragged.closest?.("#examples .thumbnail-item")?.click();
  }

  for (const type of ["dragenter", "dragover", "drop"])
    for (const capture of [true, false]) document.addEventListener(type, onDrag, capture);
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? show(false), true);
  document.addEventListener("pointermove", () => {  // never during a drag: the end of one may go unannounced
    show(false);
    dragged = undefined;
  });

  // --- pastes, the file dialog, the clipboard's button ---

  document.addEventListener("paste", (event) => {
    const { clipboardData, target } = event;
    if (!field() || !clipboardData?.types.length) return;
    if (isText(target) && [...clipboardData.types].some((type) => type.startsWith("text/"))) return;
    event.preventDefault();
    take(clipboardData);
  });

  document.addEventListener("change", (event) => {
    if (passing || !event.target.matches("#image input[type=file]")) return;
    event.stopPropagation();
    if (event.target.files.length) use(event.target.files[0]);
  }, true);

  async function readClipboard() {
    try {
      for (const item of await navigator.clipboard.read()) {
        const type = item.types.find((each) => each.startsWith("image/"));
        if (type) return use(new File([await item.getType(type)], `clipboard.${type.slice(6)}`, { type }));
      }
      say("The clipboard holds no image", "Copy an image first, or drop or choose its file.");
    } catch {
      const cause = isSecureContext ? "Allow it for this page" : INSECURE;
      say("The clipboard cannot be read", `${cause}; or press Ctrl+V (⌘V), or drop the image.`);
    }
  }

  document.addEventListener("click", (event) => {
    const { target } = event;
    if (target.closest("#image [aria-label='Paste from clipboard']")) {
      event.stopPropagation();
      readClipboard();
    } else if (target.closest("#image [title='grant webcam access']") && !navigator.mediaDevices) {
      event.stopPropagation();
      say("The camera cannot be used", `${INSECURE}; drop or choose an image instead.`);
    } else if (target.closest("#examples .thumbnail-item")) {
      stop();  // the example is the newer wish
      clear();
    } else if (target.matches("#image input[type=file]") && matchMedia("(pointer: fine)").matches) {
      target.removeAttribute("accept");  // a file without a suffix can be chosen too; phones offer the camera with it
    }
  }, true);

  const media = navigator.mediaDevices;
  if (media) {
    const open = media.getUserMedia.bind(media);
    media.getUserMedia = (constraints) => open(constraints).catch((error) => {
      if (!field() || !constraints?.video) throw error;
      say("The camera cannot be used", CAMERA[error.name] ?? `${error.message}. Drop an image instead.`);
      return new Promise(() => {});  // Gradio would leave the error unhandled
    });
  }
})();
