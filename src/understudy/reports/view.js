// Keys for pages that work without them: each presses a button or follows a link that is on the page.
addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.querySelector("input[type=search]");
  const keys = {
    ArrowLeft: "button[value=left], a[rel=prev]", ArrowRight: "button[value=right], a[rel=next]", t: "button[value=tie]",
    k: "a[rel=prev]", j: "a[rel=next]", u: "a[rel=up]", Enter: event.target === document.body ? ".questions a" : "",
  };
  const found = keys[event.key] && document.querySelector(keys[event.key]);
  if (event.key === "/" && search) search.focus();
  else if (found) found.click();
  else return;
  event.preventDefault();
});
