// What the browser does by itself. Gradio takes a paste only after two clicks on its picture field:
// here a picture pasted anywhere is handed to the field's own file input.
(() => {
  async function give(file) {
    const field = document.querySelector("#picture");
    if (!field.querySelector("input[type=file]")) {  // the webcam is shown: back to files first
      field.querySelector("[data-testid=source-select] button")?.click();
      await new Promise((done) => setTimeout(done, 100));
    }
    const input = field.querySelector("input[type=file]");
    const files = new DataTransfer();
    files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (file) {
      event.preventDefault();
      give(file);
    }
  });
})();
