// What is clicked is sent: {image}, or {label, answer, backbone} of a cell.
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-image], [data-label]");
  if (button) trigger("select", { ...button.dataset });
});
