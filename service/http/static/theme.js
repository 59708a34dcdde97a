// Before the first paint, so that the page doesn't flash: hence no module.
document.documentElement.dataset.theme = (() => {
  try {
    return localStorage.getItem("theme") ?? "system";
  } catch {
    return "system"; // storage is forbidden
  }
})();
