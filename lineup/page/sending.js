// What scripts of upload fields share; it precedes them. Files are pairs of a path and a file.
const MAX_FILES = 1000;

// All files below the entries of a drop, with their paths; read at once, as the browser empties the drop afterwards.
async function walk(entry, path = "") {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return [[path + entry.name, file]];
  }
  const reader = entry.createReader(), found = [];
  for (;;) {  // a reader returns 100 entries at a time
    const entries = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!entries.length) break;
    for (const each of entries) found.push(...await walk(each, `${path}${entry.name}/`));
  }
  return found;
}

function send(path, files, id, onProgress) {
  const form = new FormData(), request = new XMLHttpRequest();
  for (const [name, file] of files) form.append(name, file);
  return new Promise((done, failed) => {
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* a proxy's own page */ }
      if (request.status === 200) done(answer.id);
      else failed(new Error(answer.detail ?? `The server answered ${request.status}.`));
    };
    request.onerror = () => failed(new Error("The connection broke off. Try again."));
    request.open("POST", new URL(`${path}${id ? `?id=${id}` : ""}`, location.href.replace(/\/([?#].*)?$/, "$1")));
    request.send(form);
  });
}

// Uploads files to a route, in as many bodies as needed, and returns the id of the upload.
async function sendAll(path, files, onProgress) {
  const total = files.reduce((sum, [, file]) => sum + file.size, 0);
  let id = "", sent = 0;
  for (let start = 0; start < files.length; start += MAX_FILES) {
    const part = files.slice(start, start + MAX_FILES);
    id = await send(path, part, id, (loaded) => onProgress(Math.min(1, (sent + loaded) / (total || 1))));
    sent += part.reduce((sum, [, file]) => sum + file.size, 0);
  }
  return id;
}

// The files of a drop, or null if it has none; to be called during its event.
function dropped(event) {
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.length ? Promise.all(entries.map((entry) => walk(entry))).then((all) => all.flat()) : null;
}

const visible = (files) => files.filter(([path]) => !path.split("/").some((part) => part.startsWith(".")));

