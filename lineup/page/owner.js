// The owner's pages follow the theme of the browser, or of the address, as Gradio's pages do: before anything is painted.
{
  let theme = new URLSearchParams(location.search).get("__theme");
  try {
    if (theme) sessionStorage.setItem("lineup-theme", theme);
    theme ??= sessionStorage.getItem("lineup-theme");
  } catch { /* not allowed in this frame */ }
  const prefers = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => document.documentElement.classList.toggle("dark", theme ? theme === "dark" : prefers.matches);
  prefers.addEventListener("change", apply);
  apply();
}
