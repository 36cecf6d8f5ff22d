// A link may bring the token behind `#token=`, which never leaves the browser; it is taken out of the address first.
const form = document.querySelector("form");
const found = /^#token=(.+)$/.exec(location.hash);
if (found) {
  history.replaceState(null, "", location.pathname);
  form.elements.token.value = decodeURIComponent(found[1]);
  form.submit();
} else {
  form.action = "/login" + location.hash; // the chart that was asked for
}
