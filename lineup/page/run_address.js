// Writes the id of the evaluation to the address bar; in a Space, that of the page around it.
watch("value", () => {
  const query = new URLSearchParams(location.search);
  query.delete("run");
  if (props.value) query.set("run", props.value);
  const text = query.size ? `?${query}` : "";
  history.replaceState(history.state, "", location.pathname + text);
  if (window.parent !== window) window.parent.postMessage({ queryString: text }, "https://huggingface.co");
});
