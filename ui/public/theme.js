// Before the first paint, so that the page never flashes in the wrong colours.
(function () {
  var kept = null;
  try {
    kept = localStorage.getItem("marketpulse.theme");
  } catch (error) {
    kept = null;
  }
  var dark = kept ? kept === "dark" : !matchMedia("(prefers-color-scheme: light)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
